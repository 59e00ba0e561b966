"""The udev rules that are shipped: well formed, and for a sensor that is plugged in they do what README.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from edge.acquisition import serial_ports

RULES = Path(__file__).parent.parent / "systemd/70-vitaledge-sensors.rules"
TOKEN = re.compile(r'\s*([A-Z]+)(?:\{([^}]+)\})?\s*(==|!=|\+=|:=|=)\s*"([^"]*)"\s*(?:,|$)')


def parsed() -> list[list[tuple[str, str, str, str]]]:
    """Return the rules, each a list of (key, attribute, operator, value); fails on anything else."""
    rules = []
    for line in RULES.read_text().replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        tokens, at = [], 0
        while at < len(line.rstrip()):
            found = TOKEN.match(line, at)
            assert found, f"cannot be read from column {at}: {line}"
            tokens.append((found[1], found[2] or "", found[3], found[4]))
            at = found.end()
        rules.append(tokens)
    return rules


class Udev:
    """Carries the rules out for one device, as far as they use the language."""

    def __init__(self, properties: dict[str, str], *, action: str = "add", subsystem: str = "tty") -> None:
        self.properties = dict(properties)
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.node: dict[str, str] = {}
        facts = {"ACTION": action, "SUBSYSTEM": subsystem}
        label = None
        for rule in parsed():
            if label is not None:
                label = None if ("LABEL", "", "=", label) in rule else label
                continue
            if all(self._holds(token, facts) for token in rule):
                label = self._carry_out(rule)
        assert label is None, "a label is missing"

    def _holds(self, token: tuple[str, str, str, str], facts: dict[str, str]) -> bool:
        key, attribute, operator, value = token
        if operator not in {"==", "!="}:
            return True
        actual = self.properties.get(attribute, "") if key == "ENV" else facts[key]
        return any(fnmatchcase(actual, each) for each in value.split("|")) is (operator == "==")

    def _carry_out(self, rule: list[tuple[str, str, str, str]]) -> str | None:
        for key, attribute, operator, value in rule:
            text = re.sub(r"\$env\{(\w+)\}", lambda found: self.properties[found[1]], value)
            match key, operator:
                case "ENV", "=":
                    self.properties[attribute] = text
                case "SYMLINK", "+=":
                    self.links.add(text)
                case "TAG", "+=":
                    self.tags.add(text)
                case (("GROUP" | "MODE"), "="):
                    self.node[key] = text
                case "GOTO", "=":
                    return value
                case "LABEL", "=":
                    pass
                case _:
                    assert operator in {"==", "!="}, f"{key}{operator}"
        return None


def usb(vendor: str, product: str, serial: str = "A1B2", interface: str = "00") -> dict[str, str]:
    """Return what 60-serial.rules finds out of a USB port."""
    known = {"ID_BUS": "usb", "ID_VENDOR_ID": vendor, "ID_MODEL_ID": product, "ID_USB_INTERFACE_NUM": interface}
    return known | ({"ID_SERIAL_SHORT": serial} if serial else {})


def documented() -> list[tuple[str, str]]:
    """Return the identities that the documentation of `usb:` names."""
    assert serial_ports.__doc__ is not None
    return re.findall(r"^([0-9a-f]{4}):([0-9a-f]{4})  ", serial_ports.__doc__, re.MULTILINE)


def test_documentation_names_adapters():
    """Otherwise the next test would test nothing."""
    assert ("0403", "6001") in documented()
    assert len(documented()) >= 8


@pytest.mark.parametrize(("vendor", "product"), documented())
def test_every_documented_adapter_is_given_name_group_and_peace(vendor, product):
    """The list of the code and the list of the system are one list."""
    device = Udev(usb(vendor, product))

    assert device.links == {"vitaledge/A1B2"}
    assert device.node == {"GROUP": "dialout", "MODE": "0660"}
    assert device.tags == {"uaccess"}
    assert device.properties["ID_MM_DEVICE_IGNORE"] == "1"
    assert device.properties["ID_MM_PORT_IGNORE"] == "1"


def test_second_port_of_a_device_has_a_name_of_its_own():
    """Two ports with one serial number must not fight for one link."""
    assert Udev(usb("0403", "6001", interface="01")).links == {"vitaledge/A1B2-if01"}


def test_adapter_without_a_serial_number_gets_no_link():
    """All of its kind would share it; the socket's link of the system is the way out."""
    device = Udev(usb("1a86", "7523", serial=""))

    assert device.links == set()
    assert device.properties["ID_MM_DEVICE_IGNORE"] == "1"


@pytest.mark.parametrize(
    ("properties", "facts"),
    [
        (usb("1199", "a001"), {}),
        ({"ID_BUS": "pci", "ID_VENDOR_ID": "0403", "ID_MODEL_ID": "6001"}, {}),
        (usb("0403", "6001"), {"subsystem": "usb"}),
        (usb("0403", "6001"), {"action": "remove"}),
        (usb("0403", "6010"), {}),
        ({}, {}),
    ],
)
def test_other_devices_are_left_alone(properties, facts):
    """A modem stays a modem; nothing happens on unplugging."""
    device = Udev(properties, **facts)

    assert device.properties == properties
    assert (device.links, device.tags, device.node) == (set(), set(), {})


def test_rules_run_after_the_identity_is_known_and_before_access_is_given():
    """udev sorts by name: 60-serial reads what is matched here, 73-seat-late carries out the tag."""
    assert "60-serial.rules" < RULES.name < "73-seat-late.rules"


def verifies() -> bool:
    """Return whether this udevadm can check a file (systemd 254 and later)."""
    udevadm = shutil.which("udevadm")
    if udevadm is None:
        return False
    return subprocess.run([udevadm, "verify", "--help"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not verifies(), reason="udevadm verify is not available (systemd before 254)")
def test_udevadm_has_no_complaint():
    """The system's own opinion of the file."""
    done = subprocess.run(["udevadm", "verify", str(RULES)], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
