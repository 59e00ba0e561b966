"""The 31 bytes in which a sensor says that it is there, and the 31 more for who asks."""

from __future__ import annotations

import struct

from bumble.core import UUID, AdvertisingData

ADVERTISEMENT_BYTES = 31
_GENERAL_DISCOVERABLE_LE_ONLY = b"\x06"
_LONG_UUID_BYTES = 18


def advertising_data(name: str, services: list[UUID]) -> tuple[bytes, bytes]:
    """Return advertisement and scan response of at most 31 bytes each.

    Short service numbers come first, as many as fit; then one long one; the name goes into the scan response, cut to
    what fits, as real sensors have it.
    """
    kinds = AdvertisingData.Type
    short = [uuid for uuid in services if len(uuid.uuid_bytes) == 2]
    long = [uuid for uuid in services if len(uuid.uuid_bytes) == 16]
    parts: list[tuple[int, bytes]] = [(kinds.FLAGS, _GENERAL_DISCOVERABLE_LE_ONLY)]
    room = ADVERTISEMENT_BYTES - 3
    if short:
        n_short = min(len(short), (room - 2 - (_LONG_UUID_BYTES if long else 0)) // 2)
        numbers = b"".join(struct.pack("<H", int.from_bytes(uuid.uuid_bytes, "little")) for uuid in short[:n_short])
        whole = n_short == len(short)
        kind = (
            kinds.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
            if whole
            else kinds.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
        )
        parts.append((kind, numbers))
        room -= 2 + len(numbers)
    if long and room >= _LONG_UUID_BYTES:
        parts.append((kinds.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(long[0].uuid_bytes)))
    shown = name.encode()[: ADVERTISEMENT_BYTES - 2]
    return bytes(AdvertisingData(parts)), bytes(AdvertisingData([(kinds.COMPLETE_LOCAL_NAME, shown)]))
