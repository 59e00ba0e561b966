"""The firmware examples, built for the workstation and read over a real pseudo-terminal by the runtime's own code."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.sensor import Sensor, SensorSettings
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.cli.firmware import check
from edge.clock import SystemClock
from edge.firmware.firmware_check import FirmwareCheckSettings
from edge.firmware.firmware_report import as_text
from edge.firmware.firmware_rules import Outcome
from edge.messages import DeviceBlock, Reading, SensorIdentity, SensorStatus

FIRMWARE = Path(__file__).parents[2] / "firmware_bridge"
PATIENCE_S = 20.0
NAMES = ("heart_rate_watch", "bedside_ecg", "ecg_patch")

pytestmark = pytest.mark.skipif(
    not (shutil.which("make") and shutil.which("cc")), reason="the examples need make and a C compiler"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    subprocess.run(["make", "-s", "-C", FIRMWARE / "examples", f"BUILD={folder}"], check=True)
    return folder


@contextmanager
def running(built, name, link, *arguments):
    """Run an example until the test is over; its line is at `link` by then."""
    process = subprocess.Popen([built / name, link, *arguments])
    try:
        while not link.is_symlink():
            assert process.poll() is None, f"{name} ended before it offered its line"
        yield
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        assert not link.is_symlink()


async def listened(link, decoder, is_enough):
    """Read `link` as the runtime does until `is_enough` of what came, and return what came."""
    clock, items, enough = SystemClock(), [], asyncio.Event()
    sensor = Sensor(
        SensorSettings(sensor="bed"),
        lambda: SerialPort(SerialPortSettings(port=str(link)), clock),
        decoder,
        clock,
        Random(1),
    )

    def sink(item):
        items.append(item)
        if is_enough(items):
            enough.set()

    job = asyncio.create_task(sensor.run(sink), name="sensor")
    try:
        await asyncio.wait_for(enough.wait(), PATIENCE_S)
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
    return items


def of(items, kind):
    return [item for item in items if isinstance(item, kind)]


def test_every_example_passes_the_conformance_check(built, tmp_path):
    """No rule is broken; what an example cannot show (no readings, no condition) is not counted as passed."""

    async def all_checked():
        clock, settings = SystemClock(), FirmwareCheckSettings(duration_s=5.0)
        ports = [SerialPort(SerialPortSettings(port=str(tmp_path / name)), clock) for name in NAMES]
        return await asyncio.gather(*(check(port, clock, settings) for port in ports))

    with (
        running(built, NAMES[0], tmp_path / NAMES[0], "2", "60"),
        running(built, NAMES[1], tmp_path / NAMES[1], "2", "60"),
        running(built, NAMES[2], tmp_path / NAMES[2]),
    ):
        reports = asyncio.run(all_checked())

    unseen = []
    for report in reports:
        assert report.has_passed, as_text(report)
        unseen.append([each.rule for each in report.verdicts if each.outcome is Outcome.NOT_SHOWN])
    assert unseen == [[], [17], [17, 18]]


def test_the_watch_gives_its_wearer_s_pulse_rate(built, tmp_path):
    """The model wrist beats 72 times a minute, and the runtime reads that number in the standard's unit."""

    def has_value(items):
        return sum(item.value is not None for item in of(items, Reading)) >= 5  # the baseline has settled

    with running(built, "heart_rate_watch", tmp_path / "watch"):
        items = asyncio.run(listened(tmp_path / "watch", BridgeDecoder(BridgeSettings(sensor="bed")), has_value))

    value = of(items, Reading)[-1]
    assert (value.measure, value.unit) == ("pulse_rate_bpm", "/min")
    assert value.value == pytest.approx(72, abs=1)
    assert {item.stream for item in of(items, DeviceBlock)} == {"ppg", "acceleration"}


def test_the_watch_off_the_wrist_gives_no_number(built, tmp_path):
    """Without a wrist there is no pulse rate, and the reason is said."""

    def is_off(items):
        return any(item.absent == "sensor-off" for item in of(items, Reading))

    with running(built, "heart_rate_watch", tmp_path / "watch", "0", "60"):
        items = asyncio.run(listened(tmp_path / "watch", BridgeDecoder(BridgeSettings(sensor="bed")), is_off))

    assert all(item.value is None for item in of(items, Reading))
    assert any(item.condition == "sensor-off" for item in of(items, SensorStatus))


def test_the_bedside_ecg_is_in_millivolts_and_tells_a_lead_off(built, tmp_path):
    """R waves of 1 mV come out of the chip's counts as 1 mV; the electrode that falls off is told."""

    def has_both(items):
        return bool(of(items, SensorStatus)) and len(of(items, DeviceBlock)) > 15

    with running(built, "bedside_ecg", tmp_path / "ecg", "3", "60"):
        items = asyncio.run(listened(tmp_path / "ecg", BridgeDecoder(BridgeSettings(sensor="bed")), has_both))

    blocks = of(items, DeviceBlock)
    assert blocks[0].channels[0].unit == "mV"
    assert blocks[0].nominal_rate_hz == 250
    before = [value for block in blocks[:15] for value in block.values[:, 0]]
    assert max(before) == pytest.approx(1.0, abs=0.05)
    assert of(items, SensorStatus)[0].condition == "lead-off"
    assert of(items, SensorIdentity)[0].model == "example bedside"


def test_the_patch_fills_what_a_lost_link_left_open(built, tmp_path):
    """Samples of the seconds without a link come later, flagged, each once, and none is missing."""
    link, decoder = tmp_path / "patch", BridgeDecoder(BridgeSettings(sensor="bed"))

    def has_live(items):
        return len(of(items, DeviceBlock)) > 10

    def is_filled(items):
        stored = sum(len(block.values) for block in of(items, DeviceBlock) if block.is_backfill)
        return stored > 0 and stored >= decoder.counters.n_lost_samples

    async def cut_once():
        before = await listened(link, decoder, has_live)
        await asyncio.sleep(1.5)  # the fault itself: nobody has the line open
        return before, await listened(link, decoder, is_filled)

    with running(built, "ecg_patch", link):
        before, after = asyncio.run(cut_once())

    stored = [block for block in of(after, DeviceBlock) if block.is_backfill]
    assert sum(len(block.values) for block in stored) > 250
    taken = sorted(
        number
        for block in of(before + after, DeviceBlock)
        for number in range(block.sequence, block.sequence + len(block.values))
    )
    assert taken == list(range(taken[0], taken[0] + len(taken)))


STANDINS = Path(__file__).parents[1] / "fakes" / "board_headers"


@pytest.mark.parametrize(
    ("board", "source", "compiler"),
    [
        ("arduino", "arduino/examples/BedsideEcg/BedsideEcg.ino", ("c++", "-x", "c++", "-include", "Arduino.h")),
        ("zephyr", "zephyr/samples/heart_rate_watch/src/main.c", ("cc", "-std=c11", "-Wno-missing-field-initializers")),
        ("esp_idf", "esp_idf/ecg_patch/main/main.c", ("cc", "-std=gnu17", "-Wno-missing-field-initializers")),
    ],
)
def test_a_compiler_reads_every_port(board, source, compiler):
    """Against stand-ins for the vendor's headers, with every warning an error; no port has run on hardware."""
    if not shutil.which(compiler[0]):
        pytest.skip(f"needs {compiler[0]}")
    folders = (STANDINS / board, FIRMWARE / "include", FIRMWARE / "examples")

    done = subprocess.run(
        [
            *(*compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Werror"),
            *(f"-I{folder}" for folder in folders),
            FIRMWARE / "ports" / source,
        ],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr


def test_the_arduino_library_compiles_as_it_is_packed(tmp_path):
    """Every C file of the packed library compiles from its one folder, as the Arduino IDE does it."""
    subprocess.run(["make", "-s", "-C", FIRMWARE / "examples", "arduino", f"ARDUINO={tmp_path}"], check=True)

    sources = sorted((tmp_path / "src").glob("*.c"))
    subprocess.run(
        ["cc", "-std=gnu11", "-Wall", "-Werror", "-fsyntax-only", f"-I{tmp_path / 'src'}", *sources], check=True
    )

    assert {"fb_device.c", "bedside_ecg.c", "ads1292r.c"} <= {source.name for source in sources}
    assert (tmp_path / "library.properties").exists()
    assert (tmp_path / "examples" / "BedsideEcg" / "BedsideEcg.ino").exists()
