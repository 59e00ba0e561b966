"""Which services and characteristics every Bluetooth health profile uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge.acquisition.gatt.plan import GattPlan, assigned

HEART_RATE = assigned(0x2A37)
BODY_SENSOR_LOCATION = assigned(0x2A38)
HEART_RATE_CONTROL = assigned(0x2A39)
OXIMETRY_CONTINUOUS = assigned(0x2A5F)
OXIMETRY_SPOT = assigned(0x2A5E)
OXIMETER_FEATURES = assigned(0x2A60)
TEMPERATURE = assigned(0x2A1C)
INTERMEDIATE_TEMPERATURE = assigned(0x2A1E)
BLOOD_PRESSURE = assigned(0x2A35)
INTERMEDIATE_PRESSURE = assigned(0x2A36)
PRESSURE_FEATURES = assigned(0x2A49)
WEIGHT = assigned(0x2A9D)
GLUCOSE = assigned(0x2A18)
GLUCOSE_CONTEXT = assigned(0x2A34)
CGM = assigned(0x2AA7)
CGM_FEATURES = assigned(0x2AA8)
CGM_STATUS = assigned(0x2AA9)
CGM_SESSION_START = assigned(0x2AAA)
RECORD_ACCESS = assigned(0x2A52)
BATTERY = assigned(0x2A19)
CURRENT_TIME = assigned(0x2A2B)
DATE_TIME = assigned(0x2A08)
SYSTEM_ID = assigned(0x2A23)
MODEL = assigned(0x2A24)
SERIAL = assigned(0x2A25)
FIRMWARE = assigned(0x2A26)
HARDWARE = assigned(0x2A27)
SOFTWARE = assigned(0x2A28)
MANUFACTURER = assigned(0x2A29)
DEVICE_INFORMATION = (MANUFACTURER, MODEL, SERIAL, HARDWARE, FIRMWARE, SOFTWARE, SYSTEM_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Profile:
    service: str
    values: tuple[str, ...]
    """Characteristics with what is measured.  The only one must be there; of several a sensor may have any."""
    also: tuple[str, ...] = ()
    """Further ones to subscribe to."""
    read: tuple[str, ...] = ()
    needs_bond: bool = False


PROFILES: Mapping[str, _Profile] = MappingProxyType(
    {
        "heart_rate": _Profile(service=assigned(0x180D), values=(HEART_RATE,), read=(BODY_SENSOR_LOCATION,)),
        "oximeter": _Profile(
            service=assigned(0x1822), values=(OXIMETRY_CONTINUOUS, OXIMETRY_SPOT), read=(OXIMETER_FEATURES,)
        ),
        "thermometer": _Profile(
            service=assigned(0x1809), values=(TEMPERATURE,), also=(INTERMEDIATE_TEMPERATURE,), read=(DATE_TIME,)
        ),
        "blood_pressure": _Profile(
            service=assigned(0x1810),
            values=(BLOOD_PRESSURE,),
            also=(INTERMEDIATE_PRESSURE,),
            read=(PRESSURE_FEATURES, DATE_TIME),
        ),
        "weight": _Profile(service=assigned(0x181D), values=(WEIGHT,), read=(DATE_TIME,)),
        "glucose": _Profile(
            service=assigned(0x1808), values=(GLUCOSE,), also=(GLUCOSE_CONTEXT, RECORD_ACCESS), needs_bond=True
        ),
        "cgm": _Profile(
            service=assigned(0x181F),
            values=(CGM,),
            also=(RECORD_ACCESS,),
            read=(CGM_FEATURES, CGM_SESSION_START, CGM_STATUS),
            needs_bond=True,
        ),
    }
)
"""What each profile uses, by the name of its driver without ``ble_``."""


def profile_plan(profiles: Iterable[str]) -> GattPlan:
    """Return what a decoder of `profiles` wants of a peripheral, the battery, clock and identity included.

    What tells the device's clock is read before the records whose age it tells are subscribed to.

    Raises
    ------
    ValueError
        If there is no such profile, or none at all.
    """
    chosen = [PROFILES[name] for name in known_profiles(profiles)]
    read = (*DEVICE_INFORMATION, CURRENT_TIME, *(uuid for each in chosen for uuid in each.read), BATTERY)
    subscribe = (*(uuid for each in chosen for uuid in (*each.values, *each.also)), BATTERY, CURRENT_TIME)
    return GattPlan(
        services=tuple(dict.fromkeys(each.service for each in chosen)),
        subscribe=tuple(dict.fromkeys(subscribe)),
        read=tuple(dict.fromkeys(read)),
        required=tuple(dict.fromkeys(each.values[0] for each in chosen if len(each.values) == 1)),
        needs_bond=any(each.needs_bond for each in chosen),
    )


def known_profiles(profiles: Iterable[str]) -> tuple[str, ...]:
    """Return `profiles` in their order.

    Raises
    ------
    ValueError
        If there is no such profile, or none at all.
    """
    names = tuple(profiles)
    unknown = sorted(set(names) - set(PROFILES))
    if unknown or not names:
        raise ValueError(f"expected one or more of {', '.join(PROFILES)}, got {', '.join(unknown) or 'none'}")
    return names
