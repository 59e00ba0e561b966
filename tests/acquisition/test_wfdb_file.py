"""Clinical recordings come as blocks, with everything that is missing announced."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.acquisition import record_blocks, wfdb_file
from edge.acquisition.wfdb_file import load_wfdb, open_record, quiet
from edge.errors import RecordingError
from edge.messages import ChannelKind, Gap, SampleBlock
from tests.fakes.record_files import INVALID_16, real_recording, write_edf, write_wfdb16


def ramp(n_frames: int, n_columns: int = 1) -> np.ndarray:
    return np.arange(n_frames * n_columns).reshape(n_frames, n_columns) % 4000 - 2000


def joined(items, stream: str) -> np.ndarray:
    return np.concatenate([b.values for b in items if isinstance(b, SampleBlock) and b.stream == stream])


def gaps(items) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


# --- WFDB -------------------------------------------------------------------------------------------------


def test_samples_arrive_in_millivolts_with_their_times(tmp_path):
    """Digital values become mV by gain and baseline; sequence and time run on from block to block."""
    base = write_wfdb16(tmp_path, "r", ramp(250), names=["MLII"], gains=["200(100)/mV"])

    items = list(open_record(base).blocks(100))

    assert [b.n_samples for b in items] == [100, 100, 50]
    assert [b.sequence for b in items] == [0, 100, 200]
    assert [b.start_ns for b in items] == [0, 10**9, 2 * 10**9]
    np.testing.assert_allclose(joined(items, "ecg")[:, 0], (ramp(250)[:, 0] - 100) / 200)


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_record_is_found_with_or_without_extension(tmp_path, suffix):
    """``101``, ``101.hea`` and ``101.dat`` all name the same record."""
    write_wfdb16(tmp_path, "r", ramp(10), names=["II"])

    assert open_record(tmp_path / f"r{suffix}").info.name == "r"


@pytest.mark.parametrize(("gain", "factor"), [("200(0)/mV", 1), ("0.2(0)/uV", 1e-3), ("200(0)/V", 1e3)])
def test_ecg_is_in_millivolts_whatever_the_unit_of_the_record(tmp_path, gain, factor):
    """µV and V are converted, the range of the converter with them."""
    base = write_wfdb16(tmp_path, "r", np.full((10, 1), 100), names=["V1"], gains=[gain])
    per_mv = float(gain.split("(")[0]) / factor

    source = open_record(base)

    (channel,) = source.info.channels
    assert channel.unit == "mV"
    assert joined(source.blocks(10), "ecg")[0, 0] == pytest.approx(100 / per_mv)
    assert channel.maximum == pytest.approx(2047 / per_mv)
    assert channel.minimum == pytest.approx(-2048 / per_mv)
    assert channel.resolution == pytest.approx(1 / per_mv)


def test_invalid_samples_are_nan(tmp_path):
    """The format's own "no sample" is never a voltage."""
    digital = ramp(10)
    digital[4] = INVALID_16
    base = write_wfdb16(tmp_path, "r", digital, names=["II"])

    values = joined(open_record(base).blocks(10), "ecg")[:, 0]

    assert np.flatnonzero(np.isnan(values)).tolist() == [4]


def test_signals_of_one_family_share_a_stream_and_families_do_not(tmp_path):
    """ECG leads travel together; pulse, breathing and pressure each have their own stream."""
    base = write_wfdb16(tmp_path, "r", ramp(10, 5), names=["ABP", "II", "PLETH", "V", "RESP"])

    streams = {s.name: [c.name for c in s.channels] for s in open_record(base).info.streams}

    assert streams == {"ecg": ["II", "V"], "ppg": ["PLETH"], "resp": ["RESP"], "other": ["ABP"]}


def test_columns_option_overrides_the_usual_names(tmp_path):
    """What the user says a column is counts more than its name."""
    base = write_wfdb16(tmp_path, "r", ramp(10, 2), names=["noise1", "II"])

    info = open_record(base, {"noise1": "ecg", "II": "other"}).info

    assert {c.name: c.kind for c in info.channels} == {"noise1": ChannelKind.ECG, "II": ChannelKind.OTHER}


@pytest.mark.parametrize("columns", [{"III": "ecg"}, {"II": "heart"}])
def test_columns_option_that_fits_nothing_says_what_there_is(tmp_path, columns):
    """An unknown column or kind is an error that lists the known ones."""
    base = write_wfdb16(tmp_path, "r", ramp(10), names=["II"])

    with pytest.raises(RecordingError, match=r"'II'|ppg_red"):
        open_record(base, columns)


def test_multi_frequency_signals_keep_their_own_rates(tmp_path):
    """Each rate is a stream; the blocks of all of them cover the same time."""
    digital = np.arange(40 * 5).reshape(40, 5)
    base = write_wfdb16(tmp_path, "r", digital, names=["II", "RESP"], per_frame=[4, 1], rate="25")

    source = open_record(base)
    items = list(source.blocks(10))

    assert {s.name: (s.rate_hz, s.n_samples) for s in source.info.streams} == {"ecg": (100, 160), "resp": (25, 40)}
    np.testing.assert_allclose(joined(items, "ecg")[:, 0] * 200, digital[:, :4].ravel())
    np.testing.assert_allclose(joined(items, "resp")[:, 0] * 200, digital[:, 4])
    for ecg, resp in zip(items[::2], items[1::2], strict=True):
        # Each block of the slow stream has its samples before the end of the fast one's, and all of them.
        assert (ecg.stream, resp.stream) == ("ecg", "resp")
        assert resp.end_ns - 1e9 / 25 < ecg.end_ns <= resp.end_ns


def test_truncated_record_gives_what_is_there_and_announces_the_rest(tmp_path):
    """A short signal file is delivered to its last whole frame; a gap names the number missing."""
    base = write_wfdb16(tmp_path, "r", ramp(100), names=["II"])
    data = tmp_path / "r.dat"
    data.write_bytes(data.read_bytes()[:-41])  # 20 samples and a half

    items = list(open_record(base).blocks(64))

    assert joined(items, "ecg").shape == (79, 1)
    (gap,) = gaps(items)
    assert (gap.reason, gap.n_missing) == ("truncated-recording", 21)
    assert (gap.start_ns, gap.end_ns) == (790_000_000, 1_000_000_000)
    assert items[-1] is gap


def test_empty_signal_file_is_one_gap(tmp_path):
    """Nothing there is still announced as what is missing."""
    base = write_wfdb16(tmp_path, "r", ramp(0), names=["II"], n_frames=50)

    (gap,) = open_record(base).blocks(10)

    assert gap.n_missing == 50


def test_header_without_length_takes_it_from_the_file(tmp_path):
    """WFDB lets the header leave the number of samples out."""
    base = write_wfdb16(tmp_path, "r", ramp(30), names=["II"])
    header = tmp_path / "r.hea"
    header.write_text(header.read_text().replace("r 1 100 30", "r 1 100"))

    source = open_record(base)

    assert source.info.n_samples == 30
    assert joined(source.blocks(7), "ecg").shape == (30, 1)


@pytest.mark.parametrize("n_cut", [0, 7])
def test_differences_are_summed_from_the_start(tmp_path, monkeypatch, n_cut):
    """Format 8 stores differences: it is read in one go, so that no piece begins at a wrong level."""
    steps = np.random.default_rng(1).integers(-100, 100, 400)
    (tmp_path / "r.hea").write_text("r 1 100 400\nr.dat 8 200(0)/mV 12 0 50 0 0 II\n")
    (tmp_path / "r.dat").write_bytes(steps[: 400 - n_cut].astype("i1").tobytes())
    monkeypatch.setattr(wfdb_file, "PIECE_SAMPLES", 30)

    items = list(open_record(tmp_path / "r").blocks(64))

    np.testing.assert_allclose(joined(items, "ecg")[:, 0] * 200, 50 + np.cumsum(steps)[: 400 - n_cut])
    assert [gap.n_missing for gap in gaps(items)] == [n_cut] * bool(n_cut)


def test_compressed_record_reads_in_pieces_and_refuses_a_torn_one(tmp_path, monkeypatch):
    """FLAC-compressed signals (format 516) are read like others; where only decoding tells, damage is an error."""
    digital = np.random.default_rng(1).integers(-3000, 3000, (900, 2))
    with quiet():
        load_wfdb().wrsamp(
            "r", fs=250, units=["mV"] * 2, sig_name=["II", "V1"], d_signal=digital, fmt=["516"] * 2,
            adc_gain=[200] * 2, baseline=[0] * 2, write_dir=str(tmp_path),
        )  # fmt: skip
    monkeypatch.setattr(wfdb_file, "PIECE_SAMPLES", 500)

    values = joined(open_record(tmp_path / "r").blocks(64), "ecg")

    np.testing.assert_allclose(values * 200, digital)
    data = tmp_path / "r.dat"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(RecordingError, match="cannot be read"):
        list(open_record(tmp_path / "r").blocks(64))


def test_segments_are_joined_and_null_segments_are_gaps(tmp_path):
    """A multi-segment record runs on through its segments; ``~`` is a gap, a segment without a lead is NaN."""
    write_wfdb16(tmp_path, "layout", ramp(0, 2), names=["II", "V"], n_frames=0)
    (tmp_path / "layout.hea").write_text("layout 2 100 0\n~ 0 200/mV 0 0 0 0 0 II\n~ 0 200/mV 0 0 0 0 0 V\n")
    write_wfdb16(tmp_path, "s1", ramp(20, 2), names=["II", "V"])
    write_wfdb16(tmp_path, "s2", ramp(30) + 5, names=["V"], gains=["100(0)/mV"])
    (tmp_path / "m.hea").write_text("m/4 2 100 60\nlayout 0\ns1 20\n~ 10\ns2 30\n")

    items = list(open_record(tmp_path / "m").blocks(25))

    values = joined(items, "ecg")
    assert [(g.n_missing, g.reason, g.start_ns) for g in gaps(items)] == [(10, "no-segment", 200_000_000)]
    np.testing.assert_allclose(values[:20] * 200, ramp(20, 2))
    assert np.isnan(values[20:, 0]).all()
    np.testing.assert_allclose(values[20:, 1] * 100, (ramp(30) + 5)[:, 0])
    assert [b.sequence for b in items if isinstance(b, SampleBlock)] == [0, 30, 50]


def test_truncated_segment_in_the_middle_keeps_the_time_of_what_follows(tmp_path):
    """Samples missing inside a record shift nothing after them."""
    write_wfdb16(tmp_path, "s1", ramp(20), names=["II"], n_frames=50)
    write_wfdb16(tmp_path, "s2", ramp(30), names=["II"])
    (tmp_path / "m.hea").write_text("m/2 1 100 80\ns1 50\ns2 30\n")

    items = list(open_record(tmp_path / "m").blocks(1000))

    assert [type(i).__name__ for i in items] == ["SampleBlock", "Gap", "SampleBlock"]
    assert items[1].n_missing == 30
    assert (items[2].sequence, items[2].start_ns) == (50, 500_000_000)


@given(sizes=st.lists(st.integers(1, 70), min_size=2, max_size=4, unique=True), piece=st.sampled_from([1, 7, 64, 4096]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_and_times_do_not_depend_on_block_or_piece_size(tmp_path, monkeypatch, sizes, piece):
    """Any block size and any reading size give the same samples at the same instants."""
    digital = np.arange(61 * 3).reshape(61, 3)
    base = write_wfdb16(tmp_path, "r", digital, names=["II", "RESP"], per_frame=[2, 1], n_frames=65)
    monkeypatch.setattr(wfdb_file, "PIECE_SAMPLES", piece)

    def everything(size):
        out = set()
        for item in open_record(base).blocks(size):
            if isinstance(item, Gap):
                out.add(item)
                continue
            assert item.start_ns == round(item.sequence * 1e9 / item.rate_hz)
            out |= {(item.stream, item.sequence + k, row.tobytes()) for k, row in enumerate(item.values)}
        return out

    seen = [everything(size) for size in sizes]

    assert len(seen[0]) == 61 * 3 + 2
    assert all(each == seen[0] for each in seen)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "not a WFDB header"),
        ("garbage \x00\xff\n", "not a WFDB header"),
        ("r 0 100 10\n", "no channels"),
        ("r 1 0 10\nr.dat 16 200/mV 12 0 0 0 0 II\n", "rate > 0, got 0"),
        ("r 1 -5 10\nr.dat 16 200/mV 12 0 0 0 0 II\n", "rate|not a WFDB header"),
        ("r 1 100 10\nelsewhere.dat 16 200/mV 12 0 0 0 0 II\n", "elsewhere.dat is missing"),
        ("r/2 1 100 10\ns1 5\ns2 5\n", "s1.hea"),
    ],
)
def test_header_that_cannot_be_used_is_a_clear_error(tmp_path, header, message):
    """Every damaged header is a RecordingError in words, never a crash."""
    (tmp_path / "r.hea").write_text(header)
    (tmp_path / "r.dat").write_bytes(bytes(20))

    with pytest.raises(RecordingError, match=message):
        list(open_record(tmp_path / "r").blocks(10))


@given(noise=st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_as_header_or_file_give_a_recording_error_or_samples(tmp_path, noise):
    """No content of any file crashes the opening or the reading."""
    (tmp_path / "r.hea").write_bytes(b"r 1 100 10\n" + noise)
    (tmp_path / "r.dat").write_bytes(noise)
    for name in ("x.edf", "x.csv", "x"):
        (tmp_path / name).write_bytes(noise)
    (tmp_path / "y.edf").write_bytes(b"0       " + noise)

    for name in ("r", "x.edf", "x.csv", "x", "y.edf"):
        with suppress(RecordingError):  # anything else fails the test
            list(open_record(tmp_path / name, rate_hz=100.0).blocks(10))


@pytest.mark.parametrize(("name", "message"), [("nothing", "no such file"), ("x.dat", "x.hea is missing")])
def test_missing_files_are_named(tmp_path, name, message):
    """The error says which file is not there."""
    (tmp_path / "x.dat").write_bytes(b"\0\0")

    with pytest.raises(RecordingError, match=message):
        open_record(tmp_path / name)


def test_folder_is_no_recording(tmp_path):
    """A folder is refused with a hint."""
    with pytest.raises(RecordingError, match="folder"):
        open_record(tmp_path)


# --- EDF --------------------------------------------------------------------------------------------------


def test_edf_signals_keep_their_rates_units_and_start(tmp_path):
    """EDF signals come in the pipeline's units, each rate as its own stream, with the start as UTC."""
    ecg, resp = np.arange(300) % 2000, np.arange(75)
    path = write_edf(tmp_path / "x.edf", {"ECG II": (ecg, "uV"), "Resp": (resp, "")}, rates={"ECG II": 100, "Resp": 25})

    source = open_record(path)
    items = list(source.blocks(40))

    assert [(s.name, s.rate_hz, s.n_samples) for s in source.info.streams] == [("ecg", 100, 300), ("resp", 25, 75)]
    assert source.info.channels[0].unit == "mV"
    expected = ((ecg + 2048) * 10 / 4095 - 5) / 1000
    np.testing.assert_allclose(joined(items, "ecg")[:, 0], expected, atol=1e-9)
    assert joined(items, "resp").shape == (75, 1)
    assert source.info.start_wall_ns == 1_709_382_600 * 10**9  # 2024-03-02 12:30:00 UTC


def test_truncated_edf_announces_the_records_missing(tmp_path):
    """Fewer data records than promised: a gap of exactly those, for every stream."""
    path = write_edf(
        tmp_path / "x.edf",
        {"II": (np.zeros(300), "mV"), "Resp": (np.zeros(75), "")},
        rates={"Resp": 25},
        n_records=5,
    )

    items = list(open_record(path).blocks(64))

    assert [(g.stream, g.n_missing, g.reason) for g in gaps(items)] == [
        ("ecg", 200, "truncated-recording"),
        ("resp", 50, "truncated-recording"),
    ]


def test_edf_cut_inside_a_data_record_loses_only_that_record(tmp_path):
    """The incomplete last data record is counted as missing."""
    path = write_edf(tmp_path / "x.edf", {"II": (np.arange(300), "mV")})
    path.write_bytes(path.read_bytes()[:-10])

    items = list(open_record(path).blocks(1000))

    assert joined(items, "ecg").shape == (200, 1)
    assert gaps(items)[0].n_missing == 100


def test_edf_of_unknown_length_is_read_to_its_end(tmp_path):
    """−1 data records, as written by a recorder that lost power, means: as many as there are."""
    path = write_edf(tmp_path / "x.edf", {"II": (np.arange(300), "mV")}, n_records=-1)

    items = list(open_record(path).blocks(1000))

    assert not gaps(items)
    assert joined(items, "ecg").shape == (300, 1)


@pytest.mark.parametrize(("name", "content"), [("x.edf", b"no EDF at all" * 100), ("y.edf", b"0       " + bytes(300))])
def test_what_is_no_edf_is_a_recording_error(tmp_path, name, content):
    """Extension and content must both fit."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(RecordingError, match="not a"):
        open_record(tmp_path / name)


# --- real recordings --------------------------------------------------------------------------------------


def test_mitdb_record_reads_as_documented():
    """Record 101: two leads, 30 min at 360 Hz, 11-bit converter over ±5.12 mV."""
    source = open_record(real_recording("mitdb/101"))

    items = list(source.blocks(10_000))

    assert [c.name for c in source.info.channels] == ["MLII", "V1"]
    assert source.info.channels[0].minimum == pytest.approx(-5.12)
    assert source.info.duration_s == pytest.approx(1805.56, abs=0.01)
    values = joined(items, "ecg")
    assert values.shape == (650_000, 2)
    assert values[0].tolist() == pytest.approx([(955 - 1024) / 200, (992 - 1024) / 200])  # initial values of 101.hea


def test_challenge_record_in_matlab_container_reads():
    """A CinC 2017 record (format 16 behind a 24-byte MATLAB header) begins with the header's initial value."""
    source = open_record(real_recording("cinc2017/A00003.mat"))

    first = next(source.blocks(300))

    assert (source.info.rate_hz, source.info.n_samples) == (300, 18_000)
    assert first.values[0, 0] == pytest.approx(0.056)


def test_reading_holds_one_piece_at_a_time():
    """The piece that bounds memory is 8 MiB of samples."""
    assert record_blocks.PIECE_SAMPLES * 8 == 8 * 2**20
