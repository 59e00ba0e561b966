"""The ``[[sensor]]`` section: one sensor and the link it comes over."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field, with_config

from edge.config_types import STRICT, Identifier, Name, Positive, Text

SerialDriver = Literal["bridge_serial", "openview", "nonin", "contec_cms50", "contec_cms50_v7", "cyton"]
BleDriver = Literal[
    "bridge_ble",
    "ble_heart_rate",
    "ble_oximeter",
    "ble_thermometer",
    "ble_blood_pressure",
    "ble_weight",
    "ble_glucose",
    "ble_cgm",
    "polar_pmd",
]
Driver = SerialDriver | BleDriver
"""Names of `edge.drivers`."""
SERIAL_DRIVERS: frozenset[str] = frozenset(get_args(SerialDriver))
POLAR_STREAMS = ("ecg", "ppg", "acc", "ppi", "gyro", "magnetometer")
_ADDRESS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One sensor and the link it comes over."""

    id: Annotated[Identifier, Field(examples=["bed"])]
    """Name of this sensor, unique on this device."""
    driver: Annotated[Driver, Field(examples=["bridge_serial"])]
    """Protocol it speaks, see docs/sensors.md: ``bridge_serial`` and ``bridge_ble`` are firmware_bridge/PROTOCOL.md over
    a serial line and over Bluetooth; ``vitaledge scan`` names the driver of what is in reach."""
    port: Annotated[Text | None, Field(examples=["/dev/ttyUSB0"])] = None
    """Serial device of a serial driver: a path, better /dev/serial/by-id/…, which survives replugging, or
    ``usb:VID:PID`` or ``usb:VID:PID:SERIAL`` in hexadecimal, wherever it is plugged in."""
    baud: Annotated[Annotated[int, Field(gt=0)] | None, Field(examples=[115200])] = None
    """Line speed, bit/s.  Default: the one of the driver's device; ignored by native USB and by ptys."""
    address: Text = "auto"
    """Bluetooth address of the sensor; ``auto`` takes the first that offers what the driver reads and that no other
    sensor of this configuration uses.  Default: enough where there is one of its kind in reach."""
    adapter: Annotated[Text | None, Field(examples=["hci0"])] = None
    """Bluetooth adapter of this machine; none means the system's first."""
    bond: bool = False
    """Whether to bond with a Bluetooth sensor.  Default: most wearables give their data without."""
    streams: Annotated[tuple[Name, ...], Field(examples=[["ecg"]])] = ()
    """Streams to use, by name; none given means all that the sensor offers."""
    passkey: Annotated[Annotated[int, Field(ge=0, le=999_999)] | None, Field(examples=[123456])] = None
    """The six digits that are printed on a sensor which asks for them when bonding; none means that it does not."""
    occasional: Annotated[bool | None, Field(examples=[False])] = None
    """Whether it is switched on for each measurement, so that being away is normal and no alarm; none means the
    driver's own: cuffs, scales and glucose meters are."""
    max_silence_s: Annotated[Positive | None, Field(examples=[5.0])] = None
    """Seconds without data after which the link counts as silent; none means the driver's own, see docs/sensors.md.  For
    waveforms that is 5 s: ten times the longest pause between two notifications of common sensors, 0.56 s (Polar H10, 73
    samples at 130 Hz), rounded down."""
    placement: Annotated[Literal["chest", "waist", "wrist", "finger"] | None, Field(examples=["chest"])] = None
    """Where it is worn.  Default: not known, and then no posture is told; x points to the person's right, y to the head
    and z to the front."""
    spo2_calibration: Annotated[tuple[tuple[float, float], ...], Field(examples=[[[0.5, 98.0], [1.0, 85.0]]])] = ()
    """Pairs of ratio of ratios and oxygen saturation, %, measured for this kind of sensor, such as
    ``[[0.5, 98], [1.0, 85]]``.  Default: none, and then a saturation computed from its light is published as
    ``spo2_uncalibrated_pct`` and never alarmed on."""

    def __post_init__(self) -> None:
        is_serial = self.driver in SERIAL_DRIVERS
        if is_serial and self.port is None:
            raise ValueError(f"expected a port for the serial driver {self.driver!r}, got none")
        if not is_serial and self.port is not None:
            raise ValueError(f"expected no port for the Bluetooth driver {self.driver!r}, got {self.port!r}")
        if is_serial and self.address != "auto":
            raise ValueError(f"expected no address for the serial driver {self.driver!r}, got {self.address!r}")
        if self.address != "auto" and _ADDRESS.fullmatch(self.address) is None:
            raise ValueError(f"expected address = auto or AA:BB:CC:DD:EE:FF, got {self.address!r}")
        unknown = [name for name in self.streams if self.driver == "polar_pmd" and name not in POLAR_STREAMS]
        if unknown:
            raise ValueError(f"expected streams of {', '.join(POLAR_STREAMS)}, got {unknown[0]!r}")
        pairs = self.spo2_calibration
        is_falling = all(one[0] < other[0] and one[1] > other[1] for one, other in itertools.pairwise(pairs))
        is_in_range = all(ratio >= 0 and 0 <= spo2_pct <= 100 for ratio, spo2_pct in pairs)
        if len(pairs) == 1 or not is_falling or not is_in_range:
            raise ValueError(
                "expected spo2_calibration of two pairs [ratio, %] or more, with rising ratios >= 0 "
                "and saturations that fall within 100 to 0"
            )
