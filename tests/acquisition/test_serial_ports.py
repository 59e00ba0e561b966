"""Names of serial ports: what is plugged in, and which path a USB identity means at this moment."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from random import Random

import pytest

from edge.acquisition.devices.nonin import NoninDecoder, NoninSettings
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.acquisition.serial_ports import lasting_name, open_error, parse_usb, resolve_port
from edge.acquisition.udev import PortRoots, UsbIdentity, group_of, holders, list_ports
from edge.clock import SystemClock
from edge.errors import TransportError, TransportFault
from edge.messages import DeviceBlock, LinkChange
from tests.conformance.transport_battery import read_exactly, read_to_end, run
from tests.fakes.device_bytes import nonin
from tests.fakes.port_tree import PortTree
from tests.fakes.pty_port import Pty
from tests.fakes.serial_device import SerialDevice

FTDI = "0403:6001"


@pytest.fixture
def tree(tmp_path):
    return PortTree(tmp_path)


def refusal(port: str, tree: PortTree) -> TransportError:
    with pytest.raises(TransportError) as caught:
        resolve_port(port, tree.roots)
    return caught.value


# --- the list ---------------------------------------------------------------------------------------------


def test_adapter_is_listed_with_identity_words_and_lasting_name(tree):
    """Everything a person needs to tell it apart and to write it into a configuration."""
    node = tree.plug(
        "ttyUSB0", FTDI, serial="A1B2", words=("FTDI", "FT232R"), links=("serial/by-id/usb-FTDI_A1B2-if00-port0",)
    )

    (port,) = list_ports(tree.roots)

    assert port.path == str(node)
    assert port.usb == UsbIdentity(vendor_id=0x0403, product_id=0x6001, serial="A1B2")
    assert port.words == "FTDI FT232R (usb:0403:6001:A1B2)"
    assert lasting_name(port, [port]) == str(tree.roots.dev_dir / "serial/by-id/usb-FTDI_A1B2-if00-port0")
    assert port.interface == "00"
    assert not port.is_console


def test_port_of_a_modem_class_device_is_found_one_level_higher(tree):
    """ttyACM hangs off the interface itself, ttyUSB one level below it."""
    tree.plug("ttyACM0", "303a:1001", serial="34:85:18")

    (port,) = list_ports(tree.roots)

    assert str(port.usb) == "usb:303a:1001:34:85:18"


def test_slots_without_a_chip_and_pseudo_terminals_are_not_listed(tree):
    """The kernel keeps 4 to 32 names ready for chips that are not there."""
    tree.solder("ttyS0", uart="4")
    tree.solder("ttyS1", uart="0")
    (tree.roots.sys_dir / "class/tty/ptmx").mkdir()

    assert [port.path for port in list_ports(tree.roots)] == [str(tree.roots.dev_dir / "ttyS0")]


def test_console_of_the_kernel_is_marked(tree):
    """A Raspberry Pi's header may be the kernel's own terminal; nobody should read it as a sensor."""
    tree.solder("ttyAMA0", console="Y")

    (port,) = list_ports(tree.roots)

    assert port.is_console
    assert port.usb is None
    assert port.words == "on the board"


def test_ports_are_listed_in_the_order_of_their_numbers(tree):
    """ttyUSB10 comes behind ttyUSB9."""
    for number in (10, 9, 1):
        tree.plug(f"ttyUSB{number}", FTDI, socket=f"1-{number}")

    assert [port.path[-8:].lstrip("/v") for port in list_ports(tree.roots)] == ["ttyUSB1", "ttyUSB9", "ttyUSB10"]


def test_device_that_leaves_while_it_is_read_takes_nobody_else_identity(tree):
    """Its files vanish one by one; what is above it is a hub, and no sensor."""
    tree.plug("ttyUSB0", FTDI)
    (tree.roots.sys_dir / "devices/usb1/1-1/idProduct").unlink()

    (port,) = list_ports(tree.roots)

    assert port.usb is None


def test_machine_without_sysfs_has_no_ports(tmp_path):
    """A container, or a system that is no Linux: an empty list, no error."""
    none = PortRoots(sys_dir=tmp_path / "a", dev_dir=tmp_path / "b", proc_dir=tmp_path / "c")

    assert list_ports(none) == []
    assert holders("/dev/ttyUSB0", none) == ()


def test_lasting_name_by_serial_number_goes_before_the_one_by_socket(tree):
    """A name by socket is of use where there is no other: it breaks when the plug moves."""
    tree.plug("ttyUSB0", FTDI, links=("serial/by-path/pci-1", "vitaledge/A1", "serial/by-id/usb-FTDI_A1"))

    (port,) = list_ports(tree.roots)

    assert [link.split("dev/")[1] for link in port.links] == [
        "serial/by-id/usb-FTDI_A1",
        "vitaledge/A1",
        "serial/by-path/pci-1",
    ]


def test_link_by_a_serial_number_that_two_have_is_no_lasting_name(tree):
    """udev gives it to whichever came last: after a replug it would lead to the other one."""
    by_id = "serial/by-id/usb-0001"
    tree.plug("ttyUSB0", "10c4:ea60", serial="0001", socket="1-1", links=(by_id, "serial/by-path/socket-1"))
    tree.plug("ttyUSB1", "10c4:ea60", serial="0001", socket="1-2", links=(by_id, "serial/by-path/socket-2"))
    ports = list_ports(tree.roots)

    names = [lasting_name(port, ports).split("dev/")[1] for port in ports]

    assert names == ["serial/by-path/socket-1", "serial/by-path/socket-2"]


def test_without_udev_a_usb_identity_is_the_lasting_name(tree):
    """As in a container: it follows the adapter, while one of its kind is there."""
    tree.plug("ttyUSB0", FTDI, serial="A1", socket="1-1")
    tree.plug("ttyUSB1", "1a86:7523", socket="1-2")
    tree.plug("ttyUSB2", "10c4:ea60", serial="0001", socket="1-3")
    tree.plug("ttyUSB3", "10c4:ea60", serial="0001", socket="1-4")
    tree.solder("ttyAMA0")
    ports = list_ports(tree.roots)

    names = [lasting_name(port, ports).rpartition("/")[2] for port in ports]

    assert names == ["ttyAMA0", "usb:0403:6001:A1", "usb:1a86:7523", "ttyUSB2", "ttyUSB3"]
    for port, name in zip(ports, names, strict=True):
        if name.startswith("usb:"):
            assert resolve_port(name, tree.roots) == port.path


def test_who_holds_a_port_is_told_with_name_and_number(tree):
    """Also when the process opened it by its link."""
    node = tree.plug("ttyUSB0", FTDI, links=("serial/by-id/usb-1",))
    tree.open_by(812, "ModemManager", node)
    (tree.roots.proc_dir / "cpuinfo").write_text("")

    assert holders(str(tree.roots.dev_dir / "serial/by-id/usb-1"), tree.roots) == ("ModemManager (812)",)


def test_holders_see_this_very_process(tmp_path):
    """Against the real /proc: a file that we hold open is found to be ours."""
    file = tmp_path / "port"

    with file.open("w"):
        found = holders(str(file))

    assert [each.rpartition(" ")[2] for each in found] == [f"({os.getpid()})"]


def test_group_of_a_file_that_is_gone_is_empty(tmp_path):
    """The port vanished between the listing and the look: no error."""
    assert group_of(tmp_path / "gone") == ""


# --- a USB identity becomes a path ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("usb:0403:6001", UsbIdentity(vendor_id=0x403, product_id=0x6001)),
        ("usb:10C4:ea60:0001", UsbIdentity(vendor_id=0x10C4, product_id=0xEA60, serial="0001")),
        ("usb:303a:1001:34:85:18:AC", UsbIdentity(vendor_id=0x303A, product_id=0x1001, serial="34:85:18:AC")),
        ("/dev/ttyUSB0", None),
        ("/dev/usb:0403:6001", None),
    ],
)
def test_identity_is_read_from_its_text(text, identity):
    """Hex in any case; a serial number may have colons in it, as those of Espressif have."""
    assert parse_usb(text) == identity
    if identity is not None:
        assert parse_usb(str(identity)) == identity


@pytest.mark.parametrize(
    "text", ["usb:", "usb:403:6001", "usb:0403", "usb:0403:6001:", "usb:zzzz:6001", "usb: 0403:6001"]
)
def test_malformed_identity_says_what_is_expected(text):
    """Also as a setting: a wrong configuration is told before anything is opened."""
    with pytest.raises(ValueError, match="usb:VID:PID:SERIAL"):
        parse_usb(text)
    with pytest.raises(ValueError, match="usb:VID:PID:SERIAL"):
        SerialPortSettings(port=text)


def test_path_means_itself(tree):
    """Nothing is looked up, so that a pty, a link or a device of another kind can be named."""
    assert resolve_port("/dev/anything", tree.roots) == "/dev/anything"


def test_serial_number_picks_one_of_two_alike(tree):
    """Two adapters of one kind at one bed are two sensors."""
    tree.plug("ttyUSB0", FTDI, serial="A1", socket="1-1")
    node = tree.plug("ttyUSB1", FTDI, serial="B2", socket="1-2")

    assert resolve_port("usb:0403:6001:B2", tree.roots) == str(node)


def test_two_alike_without_a_serial_number_in_the_name_are_told_apart(tree):
    """Neither is taken: a wrong guess would give one person's values to another."""
    tree.plug("ttyUSB0", FTDI, serial="A1", socket="1-1")
    tree.plug("ttyUSB1", FTDI, serial="B2", socket="1-2")

    error = refusal("usb:0403:6001", tree)

    assert error.reason is TransportFault.OTHER
    assert "ttyUSB0 (serial number A1)" in str(error)
    assert "ttyUSB1 (serial number B2)" in str(error)
    assert "usb:0403:6001:A1, usb:0403:6001:B2" in error.hint


def test_two_with_the_same_serial_number_are_named_by_socket(tree):
    """CP2102 adapters leave the factory with 0001, CH340 with none: only the socket tells them apart."""
    tree.plug("ttyUSB0", "10c4:ea60", serial="0001", socket="1-1", links=("serial/by-path/socket-1",))
    tree.plug("ttyUSB1", "10c4:ea60", serial="0001", socket="1-2", links=("serial/by-path/socket-2",))

    error = refusal("usb:10c4:ea60:0001", tree)

    assert "by-path/socket-1" in error.hint
    assert "by-path/socket-2" in error.hint


def test_device_with_two_ports_asks_which(tree):
    """One adapter, two ports, one serial number: the interface is what differs."""
    tree.plug("ttyUSB0", "0403:6010", serial="F1", interface="00", links=("serial/by-id/F1-if00",))
    tree.plug("ttyUSB1", "0403:6010", serial="F1", interface="01", links=("serial/by-id/F1-if01",))

    error = refusal("usb:0403:6010:F1", tree)

    assert "ttyUSB0 (interface 00)" in str(error)
    assert "F1-if01" in error.hint


def test_identity_that_is_not_plugged_in_is_missing_and_names_what_is(tree):
    """The person with the wrong cable reads what the right words would be."""
    tree.plug("ttyUSB0", "1a86:7523")

    error = refusal("usb:0403:6001:A1B2", tree)

    assert error.reason is TransportFault.MISSING
    assert "usb:0403:6001:A1B2" in str(error)
    assert "usb:1a86:7523 at" in error.hint


def test_identity_on_a_machine_without_usb_ports_is_missing(tree):
    """A port of the board is no candidate."""
    tree.solder("ttyS0")

    error = refusal("usb:0403:6001", tree)

    assert error.reason is TransportFault.MISSING
    assert "no USB serial port is there at all" in error.hint


# --- opened by identity -----------------------------------------------------------------------------------


def test_adapter_replugged_into_another_socket_is_found_again(tree, tmp_path):
    """Pulled out of one socket and put into another, under another kernel name: the same settings open it."""
    first, second = Pty(tmp_path / "pty-1"), Pty(tmp_path / "pty-2")
    tree.plug("ttyUSB0", FTDI, serial="A1", socket="1-1", target=first.link)

    async def scenario():
        port = SerialPort(SerialPortSettings(port="usb:0403:6001:A1", roots=tree.roots), SystemClock())
        await port.open()
        words = port.describe()
        first.unplug()
        tree.unplug("ttyUSB0")
        _, lost = await read_to_end(port)
        await port.close()
        with pytest.raises(TransportError) as missing:
            await port.open()
        tree.plug("ttyUSB3", FTDI, serial="A1", socket="2-4", target=second.link)
        await port.open()
        await second.send(b"back")
        data = await read_exactly(port, 4)
        await port.close()
        return words, lost.reason, missing.value.reason, data

    words, lost, missing, data = run(scenario())
    second.unplug()

    assert words == f"usb:0403:6001:A1 ({tree.roots.dev_dir}/ttyUSB0) at 115200 baud"
    assert (lost, missing, data) == (TransportFault.DISCONNECTED, TransportFault.MISSING, b"back")


def test_sensor_heals_itself_when_its_adapter_moves_to_another_socket(tree):
    """Nobody touches the machine: pulled, missing, plugged in elsewhere under another name, data again."""
    story: list[str] = []

    async def scenario():
        clock, moved, healed = SystemClock(20), asyncio.Event(), asyncio.Event()

        def sink(item) -> None:
            if isinstance(item, LinkChange):
                story.append(f"{item.state.value} {item.reason.partition(':')[0]}")
                if "missing" in item.reason:
                    moved.set()
            elif isinstance(item, DeviceBlock) and moved.is_set():
                healed.set()
            elif isinstance(item, DeviceBlock):
                pulled.set()

        def transport() -> SerialPort:
            return SerialPort(SerialPortSettings(port="usb:0403:6001:A1", roots=tree.roots), clock)

        pulled = asyncio.Event()
        decoder = NoninDecoder(NoninSettings(sensor="finger"))
        sensor = Sensor(SensorSettings(sensor="finger"), transport, decoder, clock, Random(1))
        with SerialDevice(nonin()) as here, SerialDevice(nonin()) as there:
            tree.plug("ttyUSB0", FTDI, serial="A1", socket="1-1", target=here.path)
            running = asyncio.create_task(sensor.run(sink))
            await pulled.wait()
            here.unplug()
            tree.unplug("ttyUSB0")
            await moved.wait()
            tree.plug("ttyUSB5", FTDI, serial="A1", socket="1-3", target=there.path)
            await healed.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(scenario())

    assert story == [
        "connecting usb",
        "connected usb",
        "lost disconnected",
        "lost missing",
        "connected usb",
        "stopped stopped",
    ]


def test_link_that_leads_to_another_device_after_a_replug_is_followed(tree, tmp_path):
    """A by-id link is read at every open, never remembered: the kernel's name behind it changes."""
    first, second = Pty(tmp_path / "pty-1"), Pty(tmp_path / "pty-2")
    link = "serial/by-id/usb-FTDI_A1"
    tree.plug("ttyUSB0", FTDI, target=first.link, links=(link,))

    async def scenario():
        port = SerialPort(SerialPortSettings(port=str(tree.roots.dev_dir / link)), SystemClock())
        await port.open()
        await port.close()
        tree.unplug("ttyUSB0")
        tree.plug("ttyUSB1", FTDI, socket="1-2", target=second.link, links=(link,))
        await port.open()
        await second.send(b"second")
        data = await read_exactly(port, 6)
        await port.close()
        return data

    assert run(scenario()) == b"second"
    first.unplug()
    second.unplug()


def test_adapter_that_leaves_between_look_up_and_open_is_missing(tree, tmp_path, monkeypatch):
    """Its node is still there and answers "no such device", as a socket's does: MISSING, to be tried again."""
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("dead")
        tree.plug("ttyUSB0", FTDI, target=tmp_path / "dead")

        async def scenario():
            port = SerialPort(SerialPortSettings(port="usb:0403:6001", roots=tree.roots), SystemClock())
            with pytest.raises(TransportError) as caught:
                await port.open()
            return caught.value.reason

        assert Path(resolve_port("usb:0403:6001", tree.roots)).exists()
        assert run(scenario()) is TransportFault.MISSING


def test_permission_hint_of_an_identity_names_the_group_of_the_port_found(tree, tmp_path):
    """The group is looked up from the device node, not from the words of the configuration."""
    pty = Pty(tmp_path / "pty")
    tree.plug("ttyUSB0", FTDI, target=pty.link)
    node = resolve_port("usb:0403:6001", tree.roots)
    pty.link.resolve().chmod(0o660)

    error = open_error(node, PermissionError(errno.EACCES, "Permission denied"))
    group = pty.link.resolve().group()
    pty.unplug()

    assert error.reason is TransportFault.PERMISSION
    assert f"group {group}" in error.hint
