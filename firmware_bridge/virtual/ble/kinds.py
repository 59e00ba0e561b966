"""The kinds of virtual wearable there are, each with the name, the services and the habits of a real one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from firmware_bridge.virtual.ble.body import Body
from firmware_bridge.virtual.ble.polar import TRUE_ECG_RATE_HZ, PolarData
from firmware_bridge.virtual.ble.services import (
    Battery,
    Cuff,
    GlucoseMeter,
    HeartRate,
    Identity,
    Oximeter,
    Part,
    Scale,
    Thermometer,
    Wearing,
)
from firmware_bridge.virtual.ble.uart import Uart
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.scenario import Scenario


class Kind(StrEnum):
    """What a wearable is."""

    HEART_RATE_STRAP = "heart_rate_strap"
    OXIMETER = "oximeter"
    THERMOMETER = "thermometer"
    BLOOD_PRESSURE = "blood_pressure"
    ECG_STRAP = "ecg_strap"
    """Polar-like: ECG and acceleration beside the heart rate."""
    BRIDGE = "bridge"
    """Our own firmware behind a Nordic UART."""
    SCALE = "scale"
    GLUCOSE_METER = "glucose_meter"
    ALL = "all"
    """One peripheral with everything."""


NAMES = {
    Kind.HEART_RATE_STRAP: "HRM Strap",
    Kind.OXIMETER: "Oximeter",
    Kind.THERMOMETER: "Thermometer",
    Kind.BLOOD_PRESSURE: "BP Monitor",
    Kind.ECG_STRAP: "Polar H10",
    Kind.BRIDGE: "VitalEdge",
    Kind.SCALE: "Scale",
    Kind.GLUCOSE_METER: "Glucose",
    Kind.ALL: "Wearable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WearableSettings:
    """One virtual wearable."""

    kind: Kind = Kind.HEART_RATE_STRAP
    serial: int = 1
    """Tells two of a kind apart; part of name and address."""
    name: str = ""
    """Advertised; empty for one like ``HRM Strap 00000001``."""
    address: str = ""
    """A static random address; empty for one made of kind and serial."""
    needs_bond: bool = False
    """Whether every value asks for an encrypted link."""
    passkey: int | None = None
    """Six digits on the sensor's display that have to be entered at the host; None pairs without asking."""
    largest_mtu: int = 247
    """What the sensor answers to an exchange of MTU; 247 fills one packet with Data Length Extension, as most do."""
    ecg_rate_hz: float = TRUE_ECG_RATE_HZ
    """What the ECG strap's crystal makes of its nominal 130 Hz."""
    clock_ppm: float = 0.0
    """By how much the ECG strap's timestamps run fast."""
    boot_id: int = 1
    """Of the firmware behind the bridge."""

    @property
    def shown_name(self) -> str:
        """The name in effect."""
        return self.name or f"{NAMES[self.kind]} {self.serial:08X}"

    @property
    def shown_address(self) -> str:
        """The address in effect, upper case with colons."""
        number = self.serial & 0xFFFFFF
        # The two top bits of a static random address are set.
        digits = f"{0xC0 + list(Kind).index(self.kind):02X}5E7E{number:06X}"
        return (self.address or ":".join(digits[k : k + 2] for k in range(0, 12, 2))).upper()


def make_parts(
    settings: WearableSettings, scenario: Scenario, wearing: Wearing, value_bytes: Callable[[], int]
) -> tuple[Part, ...]:
    """Return the functions of a wearable.

    Parameters
    ----------
    settings : WearableSettings
        Which kind it is.
    scenario : Scenario
        The patient and the faults.
    wearing : Wearing
        How it is worn; changed by hand later.
    value_bytes : callable
        Returns how many bytes one notification holds.
    """
    kind = settings.kind
    is_strap = kind in {Kind.ECG_STRAP, Kind.ALL}
    body = Body(scenario, ("ecg", "acceleration") if is_strap else ())
    is_polar = kind is Kind.ECG_STRAP
    parts: list[Part] = []
    if kind in {Kind.HEART_RATE_STRAP, Kind.ECG_STRAP, Kind.ALL}:
        parts.append(HeartRate(body, wearing, tells_contact=not is_polar))
    if kind in {Kind.OXIMETER, Kind.ALL}:
        parts.append(Oximeter(body, wearing))
    if kind in {Kind.THERMOMETER, Kind.ALL}:
        parts.append(Thermometer(body, wearing))
    if kind in {Kind.BLOOD_PRESSURE, Kind.ALL}:
        parts.append(Cuff(body, wearing))
    if kind in {Kind.SCALE, Kind.ALL}:
        parts.append(Scale())
    if kind in {Kind.GLUCOSE_METER, Kind.ALL}:
        parts.append(GlucoseMeter())
    if is_strap:
        parts.append(PolarData(body, wearing, ecg_rate_hz=settings.ecg_rate_hz, clock_ppm=settings.clock_ppm))
    if kind in {Kind.BRIDGE, Kind.ALL}:
        parts.append(Uart(VirtualSensor(scenario, boot_id=settings.boot_id), value_bytes))
    parts.append(Battery(body, wearing))
    model = "H10" if is_polar else f"virtual {kind}"
    parts.append(
        Identity(
            manufacturer="Polar Electro Oy" if is_polar else "VitalEdge",
            model=model,
            serial=f"{settings.serial:08X}",
        )
    )
    return tuple(parts)
