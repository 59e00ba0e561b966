"""The texts of the device information service -> one `SensorIdentity` when they are together.

They come one by one, in any order, and no device has all of them: what is known is told before the first other value,
and again when it changes.
"""

from __future__ import annotations

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.device_information import parse_system_id, parse_text
from edge.acquisition.gatt.rejected import Rejected
from edge.messages import SensorIdentity


class DeviceIdentity:
    """Who the device on one link says it is.

    Parameters
    ----------
    sensor : str
        Id of the sensor, as messages name it.
    """

    def __init__(self, sensor: str) -> None:
        self._sensor = sensor
        self._texts: dict[str, str] = {}
        self._told: dict[str, str] = {}

    def hear(self, channel: str, data: bytes) -> Rejected | None:
        """Take in one value; return why it was refused."""
        text = parse_system_id(data) if channel == uuids.SYSTEM_ID else parse_text(data)
        if isinstance(text, Rejected):
            return text
        self._texts[channel] = text
        return None

    def news(self, at_ns: int) -> list[SensorIdentity]:
        """Return the identity, if more or other is known of it than when it was asked for last."""
        if self._texts == self._told:
            return []
        self._told = dict(self._texts)
        names = (self._first(uuids.MANUFACTURER), self._first(uuids.MODEL))
        return [
            SensorIdentity(
                sensor=self._sensor,
                device_id=self._first(uuids.SERIAL, uuids.SYSTEM_ID),
                model=" ".join(name for name in names if name),
                firmware=self._first(uuids.FIRMWARE, uuids.SOFTWARE, uuids.HARDWARE),
                boot_id=0,
                streams=(),
                at_ns=at_ns,
            )
        ]

    def forget(self) -> None:
        """Know nothing: the link ended."""
        self._texts = {}
        self._told = {}

    def _first(self, *channels: str) -> str:
        return next((self._texts[channel] for channel in channels if self._texts.get(channel)), "")
