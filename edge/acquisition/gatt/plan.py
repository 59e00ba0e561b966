"""What a Bluetooth decoder wants of a peripheral: how to find it, what to subscribe to, what to read.

Pure.  `ble` carries it out; the decoder then gets every value as a `messages.Chunk` whose ``channel`` is the UUID of
the characteristic.
"""

from __future__ import annotations

from dataclasses import dataclass

_BASE = "0000{:04x}-0000-1000-8000-00805f9b34fb"
_MAX_SHORT = 0xFFFF


def assigned(number: int) -> str:
    """Return the full UUID of a 16-bit number that the Bluetooth SIG assigned, 36 lower-case letters.

    Raises
    ------
    ValueError
        If `number` has more than 16 bits.

    Examples
    --------
    >>> assigned(0x2A37)
    '00002a37-0000-1000-8000-00805f9b34fb'
    """
    if not 0 <= number <= _MAX_SHORT:
        raise ValueError(f"expected a number of 16 bits, got {number:#x}")
    return _BASE.format(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class GattPlan:
    """How one kind of sensor is used; all UUIDs have 36 lower-case letters."""

    services: tuple[str, ...]
    """Advertised services of which one is enough to recognise the sensor when its address is ``auto``."""
    subscribe: tuple[str, ...]
    """Characteristics to subscribe to, where the peripheral has them, in this order: notifications or indications,
    whichever it offers."""
    read: tuple[str, ...] = ()
    """Characteristics to read once after every connect, where the peripheral has them; each value is a chunk."""
    required: tuple[str, ...] = ()
    """Without one of these the peripheral is another kind of sensor, and opening fails."""
    write_to: str = ""
    """Characteristic that takes what is written without naming a channel: the way in of a byte stream over GATT."""
    needs_bond: bool = False
    """Whether the sensor says nothing before it is bonded."""
    name_prefix: str = ""
    """Further sign to recognise the sensor by, where its services are not in the advertisement."""
