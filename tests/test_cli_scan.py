"""``vitaledge scan`` as somebody with a box of cables meets it: what is where, who may use it, and what to write down."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
import threading
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from edge.acquisition.ble import BleAdapter
from edge.acquisition.ble_match import Advertisement
from edge.acquisition.framing import Frame, FrameDecoder
from edge.acquisition.gatt.plan import assigned
from edge.acquisition.packets import Command, CommandCode, Hello, SamplesPacket, decode_packet, packet_line
from edge.acquisition.recognition import KINDS, Recognised
from edge.acquisition.udev import PortInfo
from edge.cli import main
from edge.cli.scan import Scan, as_json, as_text, exit_code, sections
from edge.cli.scan_ble import driver_plans, scan_adapter, sort_out
from edge.cli.scan_serial import PortFind, PortState, ProbeSettings, scan_ports
from edge.clock import SystemClock
from edge.config_sensor import BleDriver, Sensor
from edge.drivers import DRIVERS
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk
from tests.conformance.transport_battery import run
from tests.fakes.device_bytes import CONTEC, CONTEC_V7, CYTON, CYTON_BANNER, OPENVIEW, nonin
from tests.fakes.port_tree import PortTree
from tests.fakes.scripted_bleak import ScriptedAir, ScriptedPeripheral
from tests.fakes.serial_device import SerialDevice

FAST = 50.0
"""Times real time: waiting for a port that says nothing takes a tenth of a second here."""
PATIENT = ProbeSettings(patience_s=600, window_s=600)
"""For devices that talk: the scan ends by what it hears, never by waiting."""
HELLO = packet_line(
    Hello(boot_id=1, tick_rate_hz=1000, ticks=0, device_id="bed-4", model="Board", firmware="2.1", streams=()),
    sequence=0,
)
SAMPLES = packet_line(
    SamplesPacket(stream_id=0, sequence=0, ticks=0, n_channels=1, bytes_per_value=2, data=bytes(20)), sequence=1
)


@pytest.fixture
def tree(tmp_path):
    return PortTree(tmp_path)


def scanned(tree: PortTree, settings: ProbeSettings = PATIENT, *, only: str | None = None):
    return run(scan_ports(settings, SystemClock(FAST), only=only, roots=tree.roots))


def answer_to_identify(heard: bytes) -> bytes:
    """Return a hello once IDENTIFY was received, as firmware with our library does."""
    frames = FrameDecoder().push(Chunk(data=heard, received_at_ns=0))
    packets = [decode_packet(each) for each in frames if isinstance(each, Frame)]
    return HELLO if any(isinstance(each, Command) and each.code == CommandCode.IDENTIFY for each in packets) else b""


# --- what is behind a port --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "says", "baud"),
    [
        ("openview", OPENVIEW, 115200),
        ("contec_cms50_v7", CONTEC_V7, 115200),
        ("cyton", CYTON, 115200),
        ("nonin", nonin(), 9600),
        ("contec_cms50", CONTEC, 19200),
        ("bridge_serial", HELLO, 115200),
    ],
)
def test_device_is_found_at_its_own_speed_without_being_written_to(tree, driver, says, baud):
    """Garbage at another speed does not mislead; a listener leaves no trace."""
    with SerialDevice(says, baud=baud) as device:
        tree.plug("ttyUSB0", "0403:6001", target=device.path, links=("serial/by-id/usb-1",))

        (find,) = scanned(tree)

    assert find.state is PortState.FOUND
    assert find.device is not None
    assert find.device.driver == driver
    assert find.name.endswith("serial/by-id/usb-1")
    assert device.received == b""


def test_our_own_firmware_is_asked_for_its_name(tree):
    """Its samples prove the protocol, so that a question is safe; they do not say whose they are."""
    with SerialDevice(SAMPLES, answers=answer_to_identify) as device:
        tree.plug("ttyACM0", "303a:1001", target=device.path)

        (find,) = scanned(tree)

    assert find.detail == "Board 2.1, id bed-4"


def test_silent_port_is_not_written_to(tree):
    """It may be anything: a door, a pump.  The way to ask is named."""
    with SerialDevice(answers=answer_to_identify) as device:
        tree.plug("ttyUSB0", "0403:6001", target=device.path)

        (find,) = scanned(tree, ProbeSettings(patience_s=5))

    assert find.state is PortState.SILENT
    assert "--ask" in find.hint
    assert device.received == b""


@pytest.mark.parametrize(
    ("driver", "answers"),
    [
        ("bridge_serial", answer_to_identify),
        ("contec_cms50_v7", lambda heard: CONTEC_V7 if b"\x7d\x81\xa1" in heard else b""),
        ("cyton", lambda heard: CYTON_BANNER if heard.endswith(b"v") else b""),
    ],
)
def test_device_that_waits_is_found_when_asked(tree, driver, answers):
    """Each is asked in its own words, ours first."""
    with SerialDevice(answers=answers) as device:
        tree.plug("ttyUSB0", "0403:6001", target=device.path)

        (find,) = scanned(tree, ProbeSettings(patience_s=2, answer_s=60, asks=True))

    assert find.device is not None
    assert find.device.driver == driver


def test_firmware_at_a_speed_of_its_own_is_found_and_the_speed_written_down(tree):
    """The configuration needs the line that is not the usual one."""
    with SerialDevice(HELLO, baud=921600) as device:
        tree.plug("ttyUSB0", "0403:6001", target=device.path)

        finds = scanned(tree, ProbeSettings(patience_s=600, window_s=600, extra_baud=921600))

    (block,) = sections(Scan(serial=finds, bluetooth=None))
    assert tomllib.loads(block)["sensor"][0]["baud"] == 921600


def test_bytes_that_nobody_knows_are_told_from_silence(tree):
    """Something is there: the number of bytes is told, and what to try."""
    with SerialDevice(b"$GPGGA,123519,4807.038,N*47\r\n" * 20) as device:
        tree.plug("ttyUSB0", "0403:6001", target=device.path)

        (find,) = scanned(tree, PATIENT)

    assert find.state is PortState.UNKNOWN
    assert find.n_bytes > 0
    assert "--baud" in find.hint


def test_port_that_floods_us_is_judged_and_not_followed(tree):
    """Not the time but the bytes end it: an hour is asked for at each speed, and 16 KiB are enough."""
    with SerialDevice(bytes(range(97, 123)) * 2000) as device:
        tree.plug("ttyUSB0", "0403:6001", target=device.path)

        (find,) = scanned(tree, ProbeSettings(patience_s=3600, window_s=3600))

    assert find.state is PortState.UNKNOWN
    assert find.n_bytes < 4 * (1 << 14)


def test_port_that_is_pulled_during_the_scan_is_told(tree):
    """The others are not affected, and no thread is left behind."""
    with SerialDevice() as pulled, SerialDevice(nonin()) as other:
        tree.plug("ttyUSB0", "0403:6001", socket="1-1", target=pulled.path)
        tree.plug("ttyUSB1", "0403:6001", socket="1-2", target=other.path)
        timer = threading.Timer(0.1, pulled.unplug)
        timer.start()

        lost, found = scanned(tree, PATIENT)
        timer.join()

    assert lost.state is PortState.FAILED
    assert "disconnected" in lost.detail
    assert found.state is PortState.FOUND
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("serial-/")]


# --- who may use a port -----------------------------------------------------------------------------------


def test_port_that_a_process_holds_is_left_alone_and_its_holder_named(tree):
    """Reading it would take bytes from the running service."""
    with SerialDevice(nonin()) as device:
        node = tree.plug("ttyUSB0", "0403:6001", target=device.path)
        tree.open_by(812, "vitaledge", node)

        (find,) = scanned(tree)

    assert find.state is PortState.IN_USE
    assert find.detail == "used by vitaledge (812)"
    assert find.port.holders == ("vitaledge (812)",)


def test_port_that_another_user_has_locked_is_in_use(tree):
    """Its holder cannot be seen by everybody; the lock can."""
    with SerialDevice(nonin()) as device:
        tree.plug("ttyUSB0", "0403:6001", target=device.path)
        fd = os.open(device.path, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(fd, fcntl.LOCK_EX)

        (find,) = scanned(tree)
        os.close(fd)

    assert find.state is PortState.IN_USE
    assert "end it" not in find.hint  # it may be the service


def test_ports_are_listed_without_being_opened_when_asked_for(tree):
    """Opening resets some boards: a list must be had without; who uses what is told all the same."""
    held = tree.plug("ttyUSB0", "0403:6001", socket="1-1")  # plain files: opening them would fail
    tree.plug("ttyUSB1", "0403:6001", socket="1-2")
    tree.open_by(812, "vitaledge", held)

    used, free = scanned(tree, ProbeSettings(opens=False))

    assert (used.state, free.state) == (PortState.IN_USE, PortState.FREE)


def test_console_is_not_opened(tree):
    """The kernel's own terminal: a listing must not disturb it."""
    tree.solder("ttyAMA0", console="Y")

    (find,) = scanned(tree)

    assert find.state is PortState.CONSOLE


@contextmanager
def as_nobody():
    """Give up root, which may open everything; whoever else runs this is refused by the file's mode."""
    groups, user, group = os.getgroups(), os.geteuid(), os.getegid()
    if user == 0:
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)


def test_port_that_this_user_may_not_open_names_the_group():
    """The remedy is told with the listing, not after a failed start."""
    with tempfile.TemporaryDirectory() as folder, SerialDevice(nonin()) as device:
        Path(folder).chmod(0o755)  # unlike pytest's own
        tree = PortTree(Path(folder))
        node = tree.plug("ttyUSB0", "0403:6001", target=device.path)
        device.path.chmod(0o060)
        group = node.group()

        with as_nobody():
            (find,) = scanned(tree)

    assert find.state is PortState.NOT_PERMITTED
    assert f"group {group}" in find.hint


# --- Bluetooth --------------------------------------------------------------------------------------------


def heard(
    name: str, *services: int | str, address: str = "A0:9E:1A:00:00:01", rssi_dbm: int | None = -60
) -> Advertisement:
    uuids = tuple(each if isinstance(each, str) else assigned(each) for each in services)
    return Advertisement(address=address, name=name, services=uuids, rssi_dbm=rssi_dbm)


@pytest.mark.parametrize(
    ("service", "driver"),
    [
        (0x180D, "ble_heart_rate"),
        (0x1822, "ble_oximeter"),
        (0x1809, "ble_thermometer"),
        (0x1810, "ble_blood_pressure"),
        (0x181D, "ble_weight"),
        (0x1808, "ble_glucose"),
        (0x181F, "ble_cgm"),
        ("6e400001-b5a3-f393-e0a9-e50e24dcca9e", "bridge_ble"),
        ("fb005c80-02e7-f387-1cad-8acd2d8df0c8", "polar_pmd"),
    ],
)
def test_service_names_the_driver_and_itself_in_words(service, driver):
    """Every profile that we read is proposed."""
    (find,) = sort_out([heard("", service)]).finds

    assert find.drivers == (driver,)
    assert find.services


def test_every_bluetooth_driver_can_be_proposed():
    """A driver that the configuration knows is one that a scan can find."""
    assert set(driver_plans()) == set(get_args(BleDriver))


@pytest.mark.parametrize("name", DRIVERS)
def test_scan_looks_for_what_the_driver_uses(name):
    """The same line, the same services: what a scan proposes is what the service then opens."""
    driver = DRIVERS[name]

    if driver.line is not None:
        assert KINDS[name].line == driver.line
    if driver.plan is not None:
        plan = driver_plans()[name]
        assert (plan.services, plan.name_prefix, plan.needs_bond) == (
            driver.plan.services,
            driver.plan.name_prefix,
            driver.plan.needs_bond,
        )


def test_sensor_of_two_drivers_is_given_the_one_that_reads_more():
    """A Polar strap speaks the heart-rate profile too, and has its ECG elsewhere."""
    (find,) = sort_out([heard("Polar H10 12345678", 0x180D, 0x180F)]).finds

    assert find.drivers == ("polar_pmd", "ble_heart_rate")
    assert find.services == ("heart rate", "battery")


def test_peripherals_of_strangers_are_counted_and_not_named():
    """A telephone in the next room is nobody's sensor."""
    scan = sort_out([heard("Anna's phone", 0x1805), heard("", address="AA:AA:AA:AA:AA:AA")])

    words = "\n".join(as_text(Scan(serial=None, bluetooth=scan)))

    assert scan.n_others == 2
    assert "2 other peripherals" in words
    assert "Anna" not in words
    assert "AA:AA" not in words + json.dumps(as_json(Scan(serial=None, bluetooth=scan)))


def test_table_of_bluetooth_tells_name_signal_services_and_drivers():
    """What lies on the bedside table, nearest first; a sensor that tells no name is listed as well."""
    scan = sort_out([heard("Polar H10 1", 0x180D), heard("", 0x1822, rssi_dbm=None), heard("lamp")])

    lines = as_text(Scan(serial=None, bluetooth=scan))

    assert [each.strip() for each in lines[1].split("  ") if each.strip()] == [
        "Polar H10 1",
        "A0:9E:1A:00:00:01",
        "-60 dBm",
        "heart rate",
        "polar_pmd or ble_heart_rate",
    ]
    assert lines[2].startswith("(no name)")
    assert "1 other peripheral in reach" in lines[3]


def test_no_bluetooth_sensor_in_reach_names_what_to_look_at():
    """Nothing found is an answer, not a failure."""
    words = "\n".join(as_text(Scan(serial=None, bluetooth=sort_out([]))))

    assert "no sensor in reach" in words
    assert "switched on" in words


def test_machine_without_the_bluetooth_library_can_still_scan_its_ports(monkeypatch, capsys):
    """The half that works is told; the other half says what to install."""
    monkeypatch.setitem(sys.modules, "edge.acquisition.ble", None)
    with SerialDevice(nonin()) as device:
        code = main(["scan", "--port", str(device.path), "--ble"])

    said = capsys.readouterr()
    assert code == 0
    assert "Nonin oximeter" in said.out
    assert "pip install bleak" in said.err


def test_scan_over_the_air_finds_what_advertises():
    """Through our own adapter, to the end of the path."""
    air = ScriptedAir(ScriptedPeripheral(name="strap", services=(assigned(0x180D),)))
    clock = SystemClock(1000)

    scan = run(scan_adapter(BleAdapter(clock, client_backend=air.client, scanner_backend=air.scanner), 5))

    assert [find.drivers for find in scan.finds] == [("ble_heart_rate",)]


# --- what is printed --------------------------------------------------------------------------------------


def test_sections_are_a_configuration_that_can_be_used(tree):
    """Pasted as they are: valid TOML, each name once, accepted by the configuration."""
    with SerialDevice(nonin()) as one, SerialDevice(nonin()) as two:
        tree.plug("ttyUSB0", "0403:6001", socket="1-1", target=one.path)
        tree.plug("ttyUSB1", "0403:6001", socket="1-2", target=two.path)
        finds = scanned(tree)
    air = sort_out([heard("strap", 0x180D), heard("meter", 0x1808, address="A0:9E:1A:00:00:02")])

    found = tomllib.loads("\n\n".join(sections(Scan(serial=finds, bluetooth=air))))["sensor"]

    assert [each["id"] for each in found] == ["nonin", "nonin-2", "heart-rate", "glucose"]
    assert found[3]["bond"] is True
    for each in found:
        Sensor(**each)


def test_name_of_a_port_cannot_break_the_configuration():
    """A serial number with a quote or a backslash in it stays one string."""
    path = '/dev/serial/by-id/usb-"A\\B'
    find = PortFind(
        port=PortInfo(
            path=path,
            links=(),
            usb=None,
            interface="",
            manufacturer="",
            product="",
            is_console=False,
            group="",
            is_permitted=True,
        ),
        name=path,
        state=PortState.FOUND,
        device=Recognised(driver="nonin", words="x", share=1.0, line=KINDS["nonin"].line),
    )

    (block,) = sections(Scan(serial=[find], bluetooth=None))

    assert tomllib.loads(block)["sensor"][0]["port"] == path


def test_command_finds_a_device_and_prints_what_to_paste(capsys):
    """One port by its path, as with a pseudo-terminal or a link."""
    with SerialDevice(nonin()) as device:
        code = main(["scan", "--port", str(device.path)])

    out = capsys.readouterr().out
    assert code == 0
    assert "Nonin oximeter" in out
    assert f'port = "{device.path}"' in out
    assert 'driver = "nonin"' in out


@pytest.fixture
def no_bluetooth(monkeypatch, tmp_path):
    """Take the system's bus away, wherever this runs."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")


def test_missing_bluetooth_does_not_hide_the_port(no_bluetooth, capsys):
    """Exit 0: the half that worked is told, the other half's reason is on stderr."""
    with SerialDevice(nonin()) as device:
        code = main(["scan", "--port", str(device.path), "--ble", "--duration", "0.2"])

    said = capsys.readouterr()
    assert code == 0
    assert "Nonin oximeter" in said.out
    assert said.err.startswith("vitaledge: Bluetooth: ")
    assert "what to do" in said.err


def test_missing_bluetooth_alone_is_an_environment_that_cannot_be_used(no_bluetooth, capsys):
    """Exit 3 when nothing else was asked for."""
    code = main(["scan", "--ble", "--duration", "0.2"])

    said = capsys.readouterr()
    assert code == 3
    assert "Bluetooth" in said.err
    assert said.out == ""


def test_json_is_one_object_with_both_halves(no_bluetooth, capsys):
    """Errors and finds side by side, with the section to paste."""
    with SerialDevice(nonin()) as device:
        code = main(["scan", "--port", str(device.path), "--ble", "--duration", "0.2", "--json"])

    body = json.loads(capsys.readouterr().out)
    (port,) = body["serial"]["ports"]
    assert code == 0
    assert port["device"]["driver"] == "nonin"
    assert port["device"]["line"] == "9600 8N1"
    assert body["bluetooth"]["reason"] == "adapter"
    assert tomllib.loads(body["toml"][0])["sensor"][0]["driver"] == "nonin"


@pytest.mark.parametrize("port", ["/dev/none-such", "usb:dead:beef:NONE"])
def test_named_port_that_is_not_there_is_an_environment_that_cannot_be_used(port, capsys):
    """Exit 3, with the name and what to do."""
    code = main(["scan", "--port", port])

    said = capsys.readouterr()
    assert code == 3
    assert port in said.out + said.err
    assert "plug it in" in said.out + said.err


@pytest.mark.parametrize(
    "options", [["--port", "usb:0403"], ["--duration", "0"], ["--duration", "nan"], ["--baud", "0"], ["--baud", "x"]]
)
def test_wrong_options_are_told(options, capsys):
    """Exit 2 and the option."""
    try:
        code = main(["scan", *options])
    except SystemExit as error:  # argparse's own way
        code = error.code

    assert code == 2
    assert options[0] in capsys.readouterr().err


def test_machine_without_ports_is_told_where_to_look():
    """Nothing found is an answer, not a failure."""
    found = Scan(serial=[], bluetooth=None)

    assert "no ports" in as_text(found)[0]
    assert exit_code(found) == 0


def test_halves_that_both_fail_are_a_failure():
    """Exit 3 only if nothing could be done."""
    error = TransportError("x", reason=TransportFault.ADAPTER)

    assert exit_code(Scan(serial=error, bluetooth=error)) == 3
    assert exit_code(Scan(serial=[], bluetooth=error)) == 0
