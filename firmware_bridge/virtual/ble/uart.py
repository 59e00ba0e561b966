"""Our own protocol over the Nordic UART service: the frames of a `VirtualSensor`, cut to what one notification holds.

A notification border means nothing, just as on a serial line: frames are split and joined as they come.
"""

from __future__ import annotations

from collections.abc import Callable

from bumble.core import UUID
from bumble.gatt import CharacteristicValue, Service

from edge.clock import NS_PER_S
from firmware_bridge.virtual.ble.services import NOTIFY, WRITE, WRITE_COMMAND, Part, characteristic
from firmware_bridge.virtual.device import VirtualSensor

SERVICE = "6E400001-B5A3-F393-E0A9-E50E24DCCA9E"
TO_SENSOR = "6E400002-B5A3-F393-E0A9-E50E24DCCA9E"
FROM_SENSOR = "6E400003-B5A3-F393-E0A9-E50E24DCCA9E"
PERIOD_S = 0.05
"""Half a packet of the sensor."""


class Uart(Part):
    """The Nordic UART service in front of a sensor that speaks ``firmware_bridge/PROTOCOL.md``.

    Parameters
    ----------
    sensor : VirtualSensor
        Advanced in step with the story.
    value_bytes : callable
        Returns how many bytes one notification holds on the link there is.
    """

    def __init__(self, sensor: VirtualSensor, value_bytes: Callable[[], int]) -> None:
        self.sensor = sensor
        self._value_bytes = value_bytes
        self._out = characteristic(FROM_SENSOR, NOTIFY)
        inlet = characteristic(TO_SENSOR, WRITE | WRITE_COMMAND, CharacteristicValue(write=self._received))
        self.services = (Service(UUID(SERVICE), [inlet, self._out]),)
        self.advertised = (UUID(SERVICE),)
        self.due_s = PERIOD_S

    def act(self, at_s: float) -> None:
        """Send what the sensor has said."""
        self.due_s = at_s + PERIOD_S
        self._say(self.sensor.advance(round(at_s * NS_PER_S)))

    def _received(self, connection: object, value: bytes) -> None:
        del connection
        self._say(self.sensor.receive(bytes(value)))

    def _say(self, data: bytes) -> None:
        size = self._value_bytes()
        for start in range(0, len(data), size):
            self._send(self._out, data[start : start + size], 0)
