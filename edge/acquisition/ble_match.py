"""Which of the Bluetooth peripherals in range is the one that a plan means.

Pure.  `ble` hears the advertisements; ``vitaledge scan`` shows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.acquisition.gatt.plan import GattPlan

_UNKNOWN_RSSI_DBM = -127
"""Weaker than any real one; also what the Bluetooth specification sends for "not available" is 127."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """One peripheral, as it was heard last."""

    address: str
    """``A0:9E:1A:…``, upper case as the system writes it."""
    name: str
    """Empty where it tells none."""
    services: tuple[str, ...]
    """UUIDs that it advertises, 36 lower-case letters."""
    rssi_dbm: int | None
    """Strength of its signal; None where unknown."""


def fits(plan: GattPlan, heard: Advertisement) -> bool:
    """Tell whether `heard` is a sensor of the kind that `plan` is for.

    One advertised service is enough.  The name counts as well, because an advertisement has 31 bytes and a 128-bit
    service often has no room in it.
    """
    has_service = not set(plan.services).isdisjoint(heard.services)
    return has_service or (plan.name_prefix != "" and heard.name.startswith(plan.name_prefix))


def nearest(candidates: Iterable[Advertisement]) -> Advertisement | None:
    """Return the candidate with the strongest signal, the lowest address among equals; None for no candidate."""
    return min(candidates, key=_distance, default=None)


def _distance(heard: Advertisement) -> tuple[int, str]:
    rssi_dbm = _UNKNOWN_RSSI_DBM if heard.rssi_dbm is None else heard.rssi_dbm
    return (-rssi_dbm, heard.address)


def shortened(address: str) -> str:
    """Return the end of `address`, enough to tell two sensors apart at a bed and too little to recognise a person by.

    Addresses are not logged: they follow their wearer about.

    Examples
    --------
    >>> shortened("A0:9E:1A:12:34:56")
    '…34:56'
    """
    return f"…{address[-5:]}"
