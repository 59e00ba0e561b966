"""The Bluetooth half of ``vitaledge scan``: which wearables advertise, and which driver reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edge.acquisition.ble_match import Advertisement, fits
from edge.acquisition.gatt.nordic_uart import NORDIC_UART
from edge.acquisition.gatt.plan import GattPlan, assigned
from edge.acquisition.gatt.polar_control import SERVICE as POLAR_SERVICE
from edge.acquisition.gatt.polar_pmd import POLAR_PLAN
from edge.acquisition.gatt.profile_plans import PROFILES, profile_plan
from edge.errors import TransportError, TransportFault

if TYPE_CHECKING:  # needs the Bluetooth library, which a machine with serial sensors alone may lack
    from edge.acquisition.ble import BleAdapter
    from edge.clock import Clock

SERVICE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        assigned(0x1805): "current time",
        assigned(0x1808): "glucose",
        assigned(0x1809): "thermometer",
        assigned(0x180A): "device information",
        assigned(0x180D): "heart rate",
        assigned(0x180F): "battery",
        assigned(0x1810): "blood pressure",
        assigned(0x181B): "body composition",
        assigned(0x181D): "weight scale",
        assigned(0x181F): "continuous glucose",
        assigned(0x1822): "pulse oximeter",
        NORDIC_UART.services[0]: "serial stream",
        POLAR_SERVICE: "Polar measurement data",
    }
)
"""Health services by UUID (Bluetooth SIG, Assigned Numbers, 3.4) and two that makers defined."""


def driver_plans() -> dict[str, GattPlan]:
    """Return what each Bluetooth driver looks for, by its name, the one that reads most of a sensor first."""
    profiles = {f"ble_{name}": profile_plan((name,)) for name in PROFILES}
    return {"polar_pmd": POLAR_PLAN, **profiles, "bridge_ble": NORDIC_UART}


@dataclass(frozen=True, slots=True, kw_only=True)
class BleFind:
    """One peripheral in reach that a driver reads."""

    address: str
    name: str
    """Empty where it tells none."""
    rssi_dbm: int | None
    services: tuple[str, ...]
    """The known ones, in words."""
    drivers: tuple[str, ...]
    """Those that read it, the best first."""
    needs_bond: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BleScan:
    """What is in reach."""

    finds: tuple[BleFind, ...]
    """Nearest first."""
    n_others: int
    """Peripherals that no driver reads: telephones, tags, lamps.  They are counted and not named, for their addresses
    are of people who did not ask to be listed."""


async def scan_bluetooth(clock: Clock, duration_s: float) -> BleScan:
    """Return what advertises within `duration_s` seconds.

    Raises
    ------
    TransportError
        If there is no adapter, no Bluetooth service, or no Bluetooth library.
    """
    try:
        from edge.acquisition.ble import BleAdapter  # here, so that ports can be scanned without the library
    except ImportError as error:
        raise TransportError(
            f"Bluetooth is not installed here: {error}",
            reason=TransportFault.ADAPTER,
            hint="install it with: pip install bleak",
        ) from error
    return await scan_adapter(BleAdapter(clock), duration_s)


async def scan_adapter(adapter: BleAdapter, duration_s: float) -> BleScan:
    """Return what `adapter` hears within `duration_s` seconds.

    Raises
    ------
    TransportError
        If it cannot listen.
    """
    try:
        return sort_out(await adapter.scan(duration_s))
    finally:
        await adapter.close()


def sort_out(heard: Iterable[Advertisement]) -> BleScan:
    """Return which of the peripherals that were heard are sensors that we read."""
    plans, finds, n_others = driver_plans(), [], 0
    for each in heard:
        drivers = tuple(name for name, plan in plans.items() if fits(plan, each))
        if not drivers:
            n_others += 1
            continue
        words = tuple(dict.fromkeys(SERVICE_WORDS[uuid] for uuid in each.services if uuid in SERVICE_WORDS))
        finds.append(
            BleFind(
                address=each.address,
                name=each.name,
                rssi_dbm=each.rssi_dbm,
                services=words,
                drivers=drivers,
                needs_bond=plans[drivers[0]].needs_bond,
            )
        )
    return BleScan(finds=tuple(finds), n_others=n_others)
