"""What the emulated BlueZ says of its adapter, and of a device from its advertisement alone."""

from __future__ import annotations

from dbus_fast import Variant

from firmware_bridge.virtual.ble.hearing import Heard
from firmware_bridge.virtual.ble.object_server import Interfaces, Properties

ADAPTER = "org.bluez.Adapter1"
MONITOR_MANAGER = "org.bluez.AdvertisementMonitorManager1"
ADDRESS = "C0:C1:C2:C3:C4:C5"
_LEAST_RSSI_DBM = -120
_OWN_SERVICES = ["00001800-0000-1000-8000-00805f9b34fb", "00001801-0000-1000-8000-00805f9b34fb"]


def adapter_interfaces(*, is_powered: bool) -> Interfaces:
    """Return the interfaces of the adapter, as bluetoothd 5.66 shows one that nobody has used yet."""
    adapter = {
        "Address": Variant("s", ADDRESS),
        "AddressType": Variant("s", "public"),
        "Name": Variant("s", "virtual"),
        "Alias": Variant("s", "virtual"),
        "Class": Variant("u", 0),
        "Powered": Variant("b", is_powered),
        "Discoverable": Variant("b", False),
        "DiscoverableTimeout": Variant("u", 180),
        "Pairable": Variant("b", True),
        "PairableTimeout": Variant("u", 0),
        "Discovering": Variant("b", False),
        "UUIDs": Variant("as", _OWN_SERVICES),
        "Modalias": Variant("s", "usb:v1D6Bp0246d0542"),
        "Roles": Variant("as", ["central", "peripheral"]),
    }
    monitors = {
        "SupportedMonitorTypes": Variant("as", ["or_patterns"]),
        "SupportedFeatures": Variant("as", []),
    }
    return {ADAPTER: adapter, MONITOR_MANAGER: monitors}


def advertised_properties(found: Heard) -> Properties:
    """Return the properties of a device that come from its advertisement."""
    properties: Properties = {"RSSI": Variant("n", max(_LEAST_RSSI_DBM, found.rssi_dbm))}
    if found.name:
        properties["Name"] = Variant("s", found.name)
    if found.services:
        properties["UUIDs"] = Variant("as", list(found.services))
    if found.flags:
        properties["AdvertisingFlags"] = Variant("ay", found.flags)
    if found.tx_power_dbm is not None:
        properties["TxPower"] = Variant("n", found.tx_power_dbm)
    if found.manufacturer_data:
        shown = {maker: Variant("ay", data) for maker, data in found.manufacturer_data.items()}
        properties["ManufacturerData"] = Variant("a{qv}", shown)
    return properties
