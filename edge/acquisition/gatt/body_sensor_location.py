"""Body Sensor Location 0x2A38: where a heart-rate sensor is worn, one byte."""

from __future__ import annotations

from enum import IntEnum

from edge.acquisition.gatt.rejected import Rejected


class BodySensorLocation(IntEnum):
    """Where it is worn."""

    OTHER = 0
    CHEST = 1
    WRIST = 2
    FINGER = 3
    HAND = 4
    EAR_LOBE = 5
    FOOT = 6

    @property
    def text(self) -> str:
        """The place in words: ``ear lobe``."""
        return self.name.lower().replace("_", " ")


def parse_body_sensor_location(data: bytes) -> BodySensorLocation | Rejected:
    """Return the place in `data`."""
    if len(data) != 1:
        return Rejected("length")
    if data[0] > max(BodySensorLocation):
        return Rejected("value")
    return BodySensorLocation(data[0])


def body_sensor_location_bytes(location: BodySensorLocation) -> bytes:
    """Return `location` as a sensor sends it."""
    return bytes([location])
