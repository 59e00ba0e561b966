"""What a host hears, in the words that hosts use: full UUIDs, names of properties, the parts of an advertisement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement

_PROPERTY_NAMES = (
    (0x01, "broadcast"),
    (0x02, "read"),
    (0x04, "write-without-response"),
    (0x08, "write"),
    (0x10, "notify"),
    (0x20, "indicate"),
    (0x40, "authenticated-signed-writes"),
    (0x80, "extended-properties"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One advertisement together with its scan response."""

    address: str
    """Upper case with colons."""
    rssi_dbm: int
    name: str | None
    services: tuple[str, ...]
    """Full UUIDs, sorted."""
    flags: bytes
    manufacturer_data: dict[int, bytes]
    tx_power_dbm: int | None


def full_uuid(uuid: UUID) -> str:
    """Return any Bluetooth UUID as 36 lower-case letters."""
    digits = bytes(uuid.uuid_128_bytes)[::-1].hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def property_names(bits: int) -> list[Any]:
    """Return the names of a characteristic's properties, as BlueZ and bleak call them."""
    return [name for bit, name in _PROPERTY_NAMES if bits & bit]


def heard(advertisement: Advertisement) -> Heard:
    """Return the parts of what bumble reports."""
    kinds = AdvertisingData.Type
    data: Any = advertisement.data
    lists = (
        kinds.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
        kinds.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
        kinds.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        kinds.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    )
    maker = data.get(kinds.MANUFACTURER_SPECIFIC_DATA)
    return Heard(
        address=advertisement.address.to_string(False),
        rssi_dbm=advertisement.rssi,
        name=data.get(kinds.COMPLETE_LOCAL_NAME) or data.get(kinds.SHORTENED_LOCAL_NAME) or None,
        services=tuple(sorted({full_uuid(uuid) for kind in lists for uuid in data.get(kind) or ()})),
        flags=bytes(data.get(kinds.FLAGS, raw=True) or b""),
        manufacturer_data={int(maker[0]): bytes(maker[1])} if maker else {},
        tx_power_dbm=data.get(kinds.TX_POWER_LEVEL),
    )
