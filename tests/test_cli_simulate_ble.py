"""``vitaledge simulate --ble`` and ``--bluez`` as their users run them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge.cli import main
from edge.cli.simulate import BLUETOOTH_KINDS

CLIENT = """
    import asyncio, json
    from bleak import BleakClient, BleakScanner

    async def look():
        found = await BleakScanner.discover(timeout=1.0, return_adv=True)
        strap = next(device for device, heard in found.values()
                     if "0000180d-0000-1000-8000-00805f9b34fb" in heard.service_uuids)
        values = []
        enough = asyncio.Event()
        async with BleakClient(strap) as client:
            level = await client.read_gatt_char("00002a19-0000-1000-8000-00805f9b34fb")
            def take(_, value):
                values.append(value.hex())
                if len(values) == 3:
                    enough.set()
            await client.start_notify("00002a37-0000-1000-8000-00805f9b34fb", take)
            await asyncio.wait_for(enough.wait(), 20)
        names = sorted(device.name for device, _ in found.values())
        print(json.dumps({"names": names, "battery": level[0], "values": values}))

    asyncio.run(look())
"""


class Simulate:
    """The verb in a process of its own."""

    def __init__(self, *arguments) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge", "simulate", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def line(self):
        return self._process.stdout.readline().strip()

    def interrupt(self):
        """Press Ctrl-C; return the exit code and what was said from here on."""
        self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=20)
        return self._process.returncode, out, err


def has_everything():
    pytest.importorskip("bumble", reason="needs the extra 'simulate' (bumble)")
    pytest.importorskip("bleak", reason="the client is written with bleak")
    if shutil.which("dbus-daemon") is None:
        pytest.skip("the emulated BlueZ needs dbus-daemon")


def test_a_plain_bleak_program_finds_connects_reads_and_subscribes(tmp_path):
    """With the printed line exported, a program that knows only BlueZ meets two wearables; Ctrl-C ends in order."""
    has_everything()
    script = tmp_path / "client.py"
    script.write_text(textwrap.dedent(CLIENT))

    with Simulate("--bluez", "--kind", "heart_rate_strap,oximeter", "--speed", "10") as simulator:
        name, _, address = simulator.line().partition("=")
        client = subprocess.run(
            [sys.executable, script],
            env={**os.environ, name: address},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        code, out, err = simulator.interrupt()

    assert client.returncode == 0, client.stderr
    seen = json.loads(client.stdout)
    assert seen["names"] == ["HRM Strap 00000001", "Oximeter 00000002"]
    assert seen["battery"] == 87
    assert len(seen["values"]) >= 3
    assert (code, err) == (0, "")
    assert "HRM Strap 00000001: 1 links, values: " in out
    assert not Path(address.removeprefix("unix:path=").split(",")[0]).exists()


def test_json_tells_where_and_what_first_and_the_counts_last():
    """One object when clients can connect, one for each wearable at the end."""
    has_everything()

    with Simulate("--bluez", "--kind", "all", "--json") as simulator:
        first = json.loads(simulator.line())
        code, out, err = simulator.interrupt()

    assert first["dbus_system_bus_address"].startswith("unix:path=")
    assert first["wearables"] == [{"kind": "all", "name": "Wearable 00000001", "address": "C8:5E:7E:00:00:01"}]
    assert json.loads(out)["links"] == 0
    assert (code, err) == (0, "")


def test_another_bumble_program_connects_over_a_transport(tmp_path):
    """tcp-server offers a controller in the wearable's room: a bumble host that opens it hears the wearable."""
    has_everything()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = tmp_path / "host.py"
    script.write_text(
        textwrap.dedent(f"""
            import asyncio
            from bumble.device import Device
            from bumble.hci import Address
            from bumble.transport import open_transport

            async def look():
                async with await open_transport("tcp-client:127.0.0.1:{port}") as transport:
                    host = Device.with_hci("host", Address("F0:F1:F2:F3:F4:F5"), transport.source, transport.sink)
                    await host.power_on()
                    heard = asyncio.get_running_loop().create_future()
                    host.on("advertisement", lambda each: heard.done() or heard.set_result(str(each.address)))
                    await host.start_scanning(active=True)
                    print(await asyncio.wait_for(heard, 20))

            asyncio.run(look())
        """)
    )

    with Simulate("--ble", "--kind", "oximeter", "--transport", f"tcp-server:127.0.0.1:{port}") as simulator:
        said = simulator.line()
        host = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
        code, _, err = simulator.interrupt()

    assert said == f"on the air through tcp-server:127.0.0.1:{port}:"
    assert host.stdout.startswith("C1:5E:7E:00:00:01"), host.stderr
    assert (code, err) == (0, "")


def test_a_wearable_goes_on_the_air_with_a_controller_at_the_other_end():
    """As with a dongle: the transport leads to a Bluetooth controller, here bumble's own in another process's place."""
    has_everything()
    from bleak import BleakClient, BleakScanner
    from bumble.controller import Controller
    from bumble.device import Device
    from bumble.hci import Address
    from bumble.link import LocalLink
    from bumble.transport import open_transport

    from firmware_bridge.virtual.ble.backend import make_backend

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def look():
        link = LocalLink()
        async with await open_transport(f"tcp-server:127.0.0.1:{port}") as transport:
            Controller("dongle", host_source=transport.source, host_sink=transport.sink, link=link)
            radio = Controller("central", link=link)
            central = Device.with_hci("central", Address("F0:F1:F2:F3:F4:F5"), radio, radio)
            await central.power_on()
            client_class, scanner_class = make_backend(central)
            arguments = ("--ble", "--kind", "all", "--transport", f"tcp-client:127.0.0.1:{port}")
            with Simulate(*arguments) as simulator:
                said = await asyncio.to_thread(simulator.line)
                device = await BleakScanner.find_device_by_address("C8:5E:7E:00:00:01", backend=scanner_class)
                async with BleakClient(device, backend=client_class) as client:
                    level = await client.read_gatt_char("00002a19-0000-1000-8000-00805f9b34fb")
                ended = await asyncio.to_thread(simulator.interrupt)
            transport.server.close()  # bumble's own closing leaves the port open
            return said, level[0], ended

    said, level, (code, out, err) = asyncio.run(look())

    assert said.startswith("on the air through tcp-client:")
    assert level == 87
    assert (code, err) == (0, "")
    assert "1 links" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ble"], "needs a radio"),
        (["--bluez", "--transport", "usb:0"], "--transport"),
        (["--bluez", "--kind", "toaster"], "toaster"),
        (["--bluez", "--record", "x.hea"], "--record"),
        (["--kind", "all"], "--kind"),
        (["--transport", "usb:0"], "--transport"),
        (["--bluez", "--speed", "0"], "--speed"),
    ],
)
def test_options_that_make_no_sense_are_told(arguments, said, capsys):
    """Exit 2, the option, and what to do."""
    if "--speed" in arguments:
        has_everything()

    code = main(["simulate", "quiet", *arguments])

    error = capsys.readouterr().err
    assert code == 2
    assert said in error


def test_a_transport_that_cannot_be_opened_is_told(capsys):
    """Exit 3 and a hint, for a dongle that is not there and for a controller that does not exist."""
    has_everything()

    codes = [main(["simulate", "quiet", "--ble", "--transport", each]) for each in ("tcp-client:127.0.0.1:1", "what")]

    assert codes == [3, 3]
    assert "cannot open the transport" in capsys.readouterr().err


def test_one_controller_does_not_carry_two_wearables(capsys):
    """Exit 3 before anything is opened."""
    has_everything()

    code = main(["simulate", "--ble", "--kind", "oximeter,scale", "--transport", "usb:0"])

    assert code == 3
    assert "carries one wearable" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["bumble", "dbus_fast"])
def test_without_the_extra_the_error_says_what_to_install(missing, monkeypatch, capsys):
    """Exit 3 and the extra to install, not a traceback."""
    if missing != "bumble":
        pytest.importorskip("bumble", reason="without bumble nothing else is missed")
    for name in [each for each in sys.modules if each.startswith(("firmware_bridge.virtual.ble", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)

    code = main(["simulate", "quiet", "--bluez"])

    assert code == 3
    error = capsys.readouterr().err
    assert missing in error
    assert "vitaledge[simulate]" in error


def test_without_a_dbus_daemon_the_error_says_so(monkeypatch, capsys):
    """Exit 3: the other way, over a transport, still works."""
    pytest.importorskip("bumble", reason="needs the extra 'simulate' (bumble)")
    pytest.importorskip("dbus_fast", reason="needs the extra 'simulate' (dbus-fast)")
    monkeypatch.setenv("PATH", "")

    code = main(["simulate", "quiet", "--bluez"])

    assert code == 3
    assert "dbus-daemon" in capsys.readouterr().err


def test_the_command_line_knows_every_kind():
    """The list that needs no bumble is the list that bumble serves."""
    pytest.importorskip("bumble", reason="needs the extra 'simulate' (bumble)")
    from firmware_bridge.virtual.ble.kinds import Kind

    assert tuple(Kind) == BLUETOOTH_KINDS
