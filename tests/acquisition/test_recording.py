"""Raw captures are byte-exact, survive a lost tail, and replay as the sensor did."""

from __future__ import annotations

import asyncio
import json
import resource
import zlib
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.acquisition import recording
from edge.acquisition.capture import (
    MAGIC,
    MAX_RECORD_BYTES,
    CaptureDecoder,
    CaptureHeader,
    CaptureRecord,
    header_bytes,
    parse_header,
    record_bytes,
)
from edge.acquisition.recording import CapturingTransport, RawCaptureTransport, RawCaptureWriter
from edge.acquisition.wfdb_file import open_record
from edge.clock import ManualClock
from edge.errors import RecordingError, TransportError, TransportFault
from edge.messages import Chunk
from tests.conformance.transport_battery import TransportBattery, read_exactly, read_to_end, run
from tests.fakes.scripted_transport import ScriptedTransport

HEADER = header_bytes(CaptureHeader(sensor="chest", link="a test", start_wall_ns=5))
fresh_file = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_capture(path, chunks: list[tuple[int, bytes]], clock: ManualClock | None = None):
    path.unlink(missing_ok=True)
    with RawCaptureWriter(path, sensor="chest", link="a test", clock=clock or ManualClock()) as writer:
        for at_ns, data in chunks:
            writer.write(Chunk(data=data, received_at_ns=at_ns))
    return path


def replay(path) -> tuple[list[tuple[int, bytes]], RawCaptureTransport]:
    """Return all chunks at once, and the transport."""

    async def scenario():
        transport = RawCaptureTransport(path, ManualClock(), is_paced=False)
        await transport.open()
        chunks = []
        with suppress(TransportError):  # the end of the file
            async for chunk in transport.chunks():
                chunks += [(chunk.received_at_ns, chunk.data)]
        await transport.close()
        return chunks, transport

    return run(scenario())


class NoticedClock(ManualClock):
    """Says when somebody waits for it: a file is read in a thread, so that takes an unknown number of loop turns."""

    def __init__(self) -> None:
        super().__init__()
        self._sleeps = asyncio.Event()

    async def sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            self._sleeps.set()
        await super().sleep(duration_s)

    async def slept(self) -> None:
        await self._sleeps.wait()
        self._sleeps.clear()


class CaptureRig:
    def __init__(self, path, pieces: list[bytes]) -> None:
        write_capture(path, [(k * 1_000_000, piece) for k, piece in enumerate(pieces)])
        self.transport = RawCaptureTransport(path, ManualClock(), is_paced=False)

    async def play(self) -> None:
        """The peer played when it was captured."""


class TestRawCaptureTransportContract(TransportBattery):
    has_live_peer = False

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path):
        self.path = tmp_path / "c.vecap"

    @asynccontextmanager
    async def rig(self, pieces, *, hangs_up):
        yield CaptureRig(self.path, pieces)


@given(chunks=st.lists(st.tuples(st.integers(0, 10**9), st.binary(min_size=1, max_size=3000)), max_size=40))
@fresh_file
def test_capture_and_replay_is_byte_exact(tmp_path, chunks):
    """Any chunks at any times come back with the same bytes, borders and offsets."""
    at_ns, expected = 0, []
    for step_ns, data in chunks:
        at_ns += step_ns
        expected.append((at_ns, data))

    replayed, transport = replay(write_capture(tmp_path / "c", expected))

    assert replayed == expected
    assert transport.torn is None


@given(chunks=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8), data=st.data())
@fresh_file
def test_capture_cut_anywhere_gives_what_is_whole_and_counts_the_rest(tmp_path, chunks, data):
    """Power lost at any byte: every whole record is there, the torn bytes are counted, nothing is invented."""
    whole = [(k, chunk) for k, chunk in enumerate(chunks)]
    path = write_capture(tmp_path / "c", whole)
    content = path.read_bytes()
    begin = len(header_bytes(CaptureHeader(sensor="chest", link="a test", start_wall_ns=0)))
    cut = data.draw(st.integers(begin, len(content)))
    path.write_bytes(content[:cut])

    replayed, transport = replay(path)

    assert replayed == whole[: len(replayed)]
    n_whole_bytes = sum(17 + len(chunk) for _, chunk in replayed)
    n_torn_bytes = cut - begin - n_whole_bytes
    assert (transport.torn.n_bytes if transport.torn else 0) == n_torn_bytes
    if transport.torn:
        assert transport.torn.offset == n_whole_bytes
    assert len(replayed) == len(whole) or n_torn_bytes < 17 + len(whole[len(replayed)][1])


@given(chunks=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6), data=st.data())
@fresh_file
def test_any_flipped_bit_ends_the_log_and_is_never_delivered(tmp_path, chunks, data):
    """Bit rot: the records before it are intact, everything from it on is counted."""
    whole = [(k, chunk) for k, chunk in enumerate(chunks)]
    path = write_capture(tmp_path / "c", whole)
    content = bytearray(path.read_bytes())
    begin = content.index(b"\n", len(MAGIC)) + 1
    bit = data.draw(st.integers(begin * 8, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)

    replayed, transport = replay(path)

    assert len(replayed) < len(whole)
    assert replayed == whole[: len(replayed)]
    assert transport.torn is not None
    assert sum(17 + len(chunk) for _, chunk in replayed) + transport.torn.n_bytes == len(content) - begin


def test_torn_tail_is_announced(tmp_path, caplog):
    """The log says which file, and how many bytes are lost."""
    path = write_capture(tmp_path / "c", [(0, b"abc")])
    with path.open("ab") as file:
        file.write(b"12345")

    replay(path)

    assert "dropped_bytes=5" in caplog.records[-1].getMessage()


def test_header_says_who_and_when(tmp_path):
    """Sensor, link and wall time of the start stand in the file, readable with any editor."""
    clock = ManualClock(start_wall_ns=1_700_000_000_000_000_000)
    clock.advance(1.0)
    path = write_capture(tmp_path / "c", [(1_500_000_000, b"x")], clock)

    replayed, transport = replay(path)

    assert json.loads(path.read_bytes().splitlines()[1])["sensor"] == "chest"
    assert transport.header == CaptureHeader(sensor="chest", link="a test", start_wall_ns=1_700_000_001_000_000_000)
    assert replayed == [(500_000_000, b"x")]  # half a second after the capture began


def test_paced_replay_waits_as_the_sensor_did(tmp_path):
    """A chunk comes when it is due on the clock, not before; its stamp is the captured instant."""
    path = write_capture(tmp_path / "c", [(1_000_000_000, b"a"), (3_000_000_000, b"b")])
    clock = NoticedClock()
    clock.advance(10.0)
    seen: list[Chunk] = []

    async def collect(transport):
        with suppress(TransportError):  # the end of the file
            async for chunk in transport.chunks():
                seen.append(chunk)  # noqa: PERF401 - looked at while it grows

    async def scenario():
        transport = RawCaptureTransport(path, clock)
        await transport.open()
        reading = asyncio.create_task(collect(transport))
        await clock.slept()
        clock.advance(0.999)
        await asyncio.sleep(0)
        before = len(seen)
        clock.advance(0.001)
        await clock.slept()  # for the second chunk: the first has come
        between = [chunk.data for chunk in seen]
        clock.advance(2.0)
        await reading
        await transport.close()
        return before, between

    before, between = run(scenario())

    assert (before, between) == (0, [b"a"])
    assert [(chunk.data, chunk.received_at_ns) for chunk in seen] == [(b"a", 11_000_000_000), (b"b", 13_000_000_000)]


def test_close_ends_a_waiting_replay(tmp_path):
    """Closed while it waits for the next chunk to be due, the replay ends without it."""
    path = write_capture(tmp_path / "c", [(1_000_000_000, b"a")])
    clock = NoticedClock()

    async def scenario():
        transport = RawCaptureTransport(path, clock)
        await transport.open()
        reading = asyncio.create_task(read_to_end(transport))
        await clock.slept()
        await transport.close()
        clock.advance(5.0)
        return await reading

    assert run(scenario()) == (b"", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a raw capture"),
        (b"Time [s],II\n0,1\n", "not a raw capture"),
        (b"VITALEDGE-CAPTURE 9\n{}\n", "version 9"),
        (MAGIC + b"no json\n", "header line is damaged"),
        (MAGIC + b'{"sensor": "x"}\n', "header line is damaged"),
        (MAGIC + b'{"sensor": "x"', "header line is damaged"),
    ],
)
def test_file_that_is_no_capture_is_refused(tmp_path, content, message):
    """Only a file that is none at all is an error; the message says what it is."""
    path = tmp_path / "c"
    path.write_bytes(content)

    async def scenario():
        with pytest.raises(RecordingError, match=message):
            await RawCaptureTransport(path, ManualClock()).open()

    run(scenario())


@given(noise=st.binary(max_size=300))
def test_any_bytes_after_the_header_give_records_or_a_count(noise):
    """Whatever follows, the decoder neither fails nor keeps quiet about what it drops."""
    decoder = CaptureDecoder()

    records = decoder.push(noise)
    dropped = decoder.flush()

    n_whole = sum(17 + len(record.data) for record in records)
    assert n_whole + sum(item.n_bytes for item in dropped) == len(noise)


def test_time_never_goes_back_within_a_capture():
    """A record older than the one before cannot be of this log: it ends there."""
    decoder = CaptureDecoder()

    records = decoder.push(b"".join(record_bytes(CaptureRecord(offset_ns=ns, data=b"x")) for ns in (5, 5, 4)))

    assert len(records) == 2
    assert decoder.flush()[0].reason == "time"


def test_missing_capture_is_a_missing_transport(tmp_path):
    """No such file: the same reason as a port that is not there."""

    async def scenario():
        with pytest.raises(TransportError) as caught:
            await RawCaptureTransport(tmp_path / "none", ManualClock()).open()
        return caught.value.reason

    assert run(scenario()) is TransportFault.MISSING


def test_capture_is_never_overwritten(tmp_path):
    """A second recording under the same name is refused."""
    path = write_capture(tmp_path / "c", [(0, b"precious")])

    with pytest.raises(RecordingError, match="exists already"):
        RawCaptureWriter(path, sensor="s", link="l", clock=ManualClock())

    assert replay(path)[0] == [(0, b"precious")]


def test_each_chunk_is_in_the_file_at_once(tmp_path):
    """Another program, or a reader after a crash, sees every chunk that `write` took."""
    writer = RawCaptureWriter(tmp_path / "c", sensor="s", link="l", clock=ManualClock())

    writer.write(Chunk(data=b"now", received_at_ns=0))

    assert replay(tmp_path / "c")[0] == [(0, b"now")]
    writer.close()


def test_chunk_longer_than_a_record_is_split(tmp_path):
    """Records are bounded; a huge chunk becomes several of the same instant."""
    big = bytes(MAX_RECORD_BYTES + 5)

    replayed, _ = replay(write_capture(tmp_path / "c", [(7, big)]))

    assert [len(data) for _, data in replayed] == [MAX_RECORD_BYTES, 5]
    assert {at_ns for at_ns, _ in replayed} == {7}


@pytest.mark.parametrize("record", [(0, b""), (-1, b"x"), (0, bytes(MAX_RECORD_BYTES + 1))])
def test_impossible_record_is_misuse(record):
    """The codec refuses what it could not read back."""
    with pytest.raises(ValueError):
        record_bytes(CaptureRecord(offset_ns=record[0], data=record[1]))


def test_header_is_found_where_it_ends():
    """The records begin right after the header line."""
    header, begin = parse_header(HEADER + b"records")

    assert (header.sensor, begin) == ("chest", len(HEADER))


# --- between a transport and its sensor -------------------------------------------------------------------


def test_capturing_changes_nothing_and_keeps_everything(tmp_path):
    """The sensor sees the same chunks; the file has them too, over a reconnect as well."""
    clock = ManualClock()
    writer = RawCaptureWriter(tmp_path / "c", sensor="s", link="l", clock=clock)

    async def scenario():
        inner = ScriptedTransport(clock)
        transport = CapturingTransport(inner, writer)
        seen = b""
        for data in (b"one", b"two"):
            await transport.open()
            inner.feed(data)
            clock.advance(1.0)
            seen += await read_exactly(transport, 3)
            await transport.write(b"ack")
            await transport.close()
        return seen, inner.written, transport.describe()

    assert run(scenario()) == (b"onetwo", [b"ack", b"ack"], "a scripted transport")
    writer.close()
    assert replay(tmp_path / "c")[0] == [(0, b"one"), (1_000_000_000, b"two")]


def test_full_disk_ends_the_capture_and_not_the_link(tmp_path, caplog):
    """The patient is still watched when nothing can be recorded; how much is not recorded is counted."""
    clock = ManualClock()

    class FullWriter(RawCaptureWriter):
        def write(self, chunk):
            raise RecordingError("No space left on device")

    async def scenario():
        with FullWriter(tmp_path / "c", sensor="s", link="l", clock=clock) as writer:
            inner = ScriptedTransport(clock)
            transport = CapturingTransport(inner, writer)
            await transport.open()
            inner.feed(b"still")
            inner.feed(b"here")
            data = await read_exactly(transport, 9)
            await transport.close()
            return data, transport.n_uncaptured_bytes

    assert run(scenario()) == (b"stillhere", 9)
    assert [r.getMessage() for r in caplog.records] == [
        f"capture.given_up file={tmp_path / 'c'} reason=No space left on device"
    ]


def test_file_system_that_takes_no_more_is_a_recording_error(tmp_path):
    """The kernel's own refusal: the error says so, and what was written before is whole."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RawCaptureWriter(tmp_path / "c", sensor="s", link="l", clock=ManualClock()) as writer:
        writer.write(Chunk(data=b"kept", received_at_ns=0))
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "c").stat().st_size + 10, hard))
        try:
            for _ in range(2):  # the first write is cut short, the second refused
                with pytest.raises(RecordingError, match="cannot be written"):
                    writer.write(Chunk(data=bytes(100), received_at_ns=1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    replayed, transport = replay(tmp_path / "c")

    assert replayed == [(0, b"kept")]
    assert transport.torn is not None
    assert transport.torn.n_bytes == 10


def test_capture_in_a_folder_that_is_not_there_is_a_recording_error(tmp_path):
    """The error names the file."""
    with pytest.raises(RecordingError, match="cannot be written"):
        RawCaptureWriter(tmp_path / "none" / "c", sensor="s", link="l", clock=ManualClock())


def test_capture_is_not_taken_for_a_table_of_samples(tmp_path):
    """Opened as a recording of samples, a capture is refused by name."""
    path = write_capture(tmp_path / "c.csv", [(0, b"1,2\n3,4\n")])

    with pytest.raises(RecordingError, match="raw capture"):
        open_record(path)


def test_offsets_are_stamped_in_order(tmp_path):
    """Chunks of one instant, or stamped before the start, stand at offset 0 and up, never back."""
    clock = ManualClock()
    clock.advance(1.0)

    replayed, _ = replay(write_capture(tmp_path / "c", [(0, b"early"), (10**9, b"start"), (2 * 10**9, b"late")], clock))

    assert [at_ns for at_ns, _ in replayed] == [0, 0, 10**9]
    assert all(a <= b for (a, _), (b, _) in pairwise(replayed))
    assert recording.MAGIC == MAGIC


def test_channels_are_captured_and_replayed(tmp_path):
    """What came from which characteristic comes back so, an empty notification included."""
    chunks = [("2a37", b"\x00\x48"), ("2a5f", b""), ("", b"bytes")]
    clock = ManualClock()
    with RawCaptureWriter(tmp_path / "c", sensor="strap", link="a test", clock=clock, driver="ble") as writer:
        for channel, data in chunks:
            writer.write(Chunk(data=data, received_at_ns=clock.monotonic_ns(), channel=channel))

    async def read():
        transport = RawCaptureTransport(tmp_path / "c", ManualClock(), is_paced=False)
        await transport.open()
        found = []
        with suppress(TransportError):
            async for chunk in transport.chunks():
                found += [(chunk.channel, chunk.data)]
        driver = transport.header.driver
        await transport.close()
        return driver, found

    assert asyncio.run(read()) == ("ble", chunks)


def test_captures_of_version_1_are_still_read(tmp_path):
    """A field problem that was recorded last year is replayed as it was."""
    body = (5).to_bytes(8, "little") + (3).to_bytes(4, "little") + b"abc"
    header = b'VITALEDGE-CAPTURE 1\n{"sensor": "bed", "link": "a port", "start_wall_ns": 7}\n'
    (tmp_path / "old").write_bytes(header + body + zlib.crc32(body).to_bytes(4, "little"))

    replayed, transport = replay(tmp_path / "old")

    assert replayed == [(5, b"abc")]
    assert transport.torn is None
    assert (transport.header.driver, transport.header.version) == ("bridge_serial", 1)
