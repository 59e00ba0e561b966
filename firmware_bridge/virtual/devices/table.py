"""Which virtual device stands in for which driver of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from firmware_bridge.virtual.devices.boards import VirtualCyton, VirtualHealthyPi5
from firmware_bridge.virtual.devices.line_device import VirtualLineDevice
from firmware_bridge.virtual.devices.oximeters import VirtualContec5Byte, VirtualContecV7, VirtualNonin
from firmware_bridge.virtual.scenario import Scenario

DEVICES: Mapping[str, Callable[[Scenario], VirtualLineDevice]] = MappingProxyType(
    {
        "openview": VirtualHealthyPi5,
        "nonin": VirtualNonin,
        "contec_cms50": VirtualContec5Byte,
        "contec_cms50_v7": VirtualContecV7,
        "cyton": VirtualCyton,
    }
)
"""By the name of the driver."""
