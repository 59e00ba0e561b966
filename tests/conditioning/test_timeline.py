"""Host time is true under jitter, drift, loss and late blocks; what is missing is said exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.conditioning.clock_line import LowerEnvelope
from edge.conditioning.timeline import Timeline
from edge.messages import Channel, ChannelKind, DeviceBlock, Gap, SampleBlock

NS_PER_S = 1_000_000_000
CHANNELS = (Channel(name="II", kind=ChannelKind.ECG, unit="mV"),)
BOOT_NS = 5 * NS_PER_S
"""Host time at which the simulated device started."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A simulated device and its way to us: what is true, and what arrives."""

    nominal_rate_hz: float = 250.0
    rate_error: float = 0.0
    drift: float = 0.0
    tick_rate_hz: int = 32768
    jitter_s: float = 0.05
    n_samples: int = 25

    def true_ns(self, sequence: int) -> float:
        """Host time of a sample."""
        return sequence / self.nominal_rate_hz / (1 + self.rate_error) * (1 + self.drift) * NS_PER_S + BOOT_NS

    def block(self, sequence: int, delay_s: float, **changes) -> DeviceBlock:
        device_s = sequence / self.nominal_rate_hz / (1 + self.rate_error)
        block = DeviceBlock(
            sensor="bed",
            stream="ecg",
            channels=CHANNELS,
            values=np.arange(sequence, sequence + self.n_samples, dtype=float)[:, None],
            nominal_rate_hz=self.nominal_rate_hz,
            sequence=sequence,
            device_time_ns=int(device_s * self.tick_rate_hz) * NS_PER_S // self.tick_rate_hz,
            received_at_ns=round(self.true_ns(sequence + self.n_samples) + delay_s * NS_PER_S),
        )
        return replace(block, **changes)

    def blocks(self, duration_s: float, seed: int = 1) -> list[DeviceBlock]:
        rng = np.random.default_rng(seed)
        n_blocks = int(duration_s * self.nominal_rate_hz / self.n_samples)
        return [self.block(k * self.n_samples, rng.uniform(0, self.jitter_s)) for k in range(n_blocks)]

    def error_ms(self, blocks: list[SampleBlock]) -> np.ndarray:
        return np.array([block.start_ns - self.true_ns(block.sequence) for block in blocks]) / 1e6


def push(timeline, blocks):
    return [item for block in blocks for item in timeline.push(block)]


def assert_rising(items):
    """Between two gaps each block starts after the one before."""
    for before, after in pairwise(items):
        if isinstance(before, SampleBlock) and isinstance(after, SampleBlock):
            assert after.start_ns > before.start_ns


LINKS = {
    "steady": Link(),
    "fast clock": Link(drift=-1300e-6),
    "slow clock": Link(drift=1300e-6),
    "wrong rate, coarse ticks": Link(rate_error=1300e-6, tick_rate_hz=1000),
    "small blocks": Link(n_samples=5, drift=100e-6),
    "long blocks": Link(n_samples=125, drift=-100e-6),
    "uncalibrated oscillator": Link(drift=0.01),
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS.keys())
def test_starts_are_true_within_milliseconds(link):
    """Uniform jitter of 50 ms: after three minutes starts are right to 5 ms and the steps between to a tenth."""
    out = push(Timeline(), link.blocks(360))

    assert all(isinstance(item, SampleBlock) for item in out)
    assert_rising(out)
    errors = link.error_ms(out)
    settled = round(180 * link.nominal_rate_hz / link.n_samples)
    assert np.abs(errors[settled:]).max() < 5
    assert np.abs(np.diff(errors[settled:])).max() < 0.1


@pytest.mark.parametrize("drift", [1300e-6, -1300e-6])
def test_intervals_are_true_from_the_first_block(drift):
    """While the line is still being found, 100 ms are wrong by less than 1 ms."""
    link = Link(drift=drift)

    out = push(Timeline(), link.blocks(120))

    assert np.abs(np.diff(link.error_ms(out))).max() < 1


def test_an_hour_of_drift_stays_right():
    """1300 ppm are 4.7 s in an hour: the error stays below 50 ms throughout and below 5 ms in the last half hour."""
    link = Link(drift=1300e-6, n_samples=125)

    out = push(Timeline(), link.blocks(3600))

    errors = link.error_ms(out)
    assert np.abs(errors).max() < 50
    assert np.abs(errors[len(errors) // 2 :]).max() < 5


def test_an_hour_of_wrong_rate_stays_right():
    """A nominal rate that is 1300 ppm off is corrected by the device's own ticks."""
    link = Link(rate_error=-1300e-6, n_samples=125)
    timeline = Timeline()

    out = push(timeline, link.blocks(3600))

    assert np.abs(link.error_ms(out)).max() < 50
    assert timeline.estimate.true_rate_hz == pytest.approx(250 * (1 - 1300e-6), rel=50e-6)


def test_late_blocks_do_not_bend_the_line():
    """One block in twenty comes 2 s late, with those queued behind it: nothing moves."""
    link = Link(drift=50e-6)
    on_time = link.blocks(300)
    late = [
        replace(block, received_at_ns=block.received_at_ns + 2 * NS_PER_S) if k % 20 == 7 else block
        for k, block in enumerate(on_time)
    ]

    errors = link.error_ms(push(Timeline(), late))

    assert np.abs(errors[1200:]).max() < 5
    assert np.abs(np.diff(errors)).max() < 1


def test_backlog_at_the_start_is_found_out():
    """The first two seconds arrive at once from a buffer; soon the blocks are where they belong."""
    link = Link()
    blocks = link.blocks(300)
    read_at_ns = blocks[20].received_at_ns
    backlog = [replace(block, received_at_ns=max(read_at_ns, block.received_at_ns)) for block in blocks]

    out = push(Timeline(), backlog)

    assert_rising(out)
    errors = link.error_ms([item for item in out if isinstance(item, SampleBlock)])
    assert np.abs(errors[30:]).max() < 250
    assert np.abs(errors[-10:]).max() < 10
    gaps = [item for item in out if isinstance(item, Gap)]
    assert {(item.reason, item.n_missing) for item in gaps} == {("clock-step", 0)}
    assert all(gap.start_ns <= gap.end_ns for gap in gaps)


@given(st.sets(st.integers(1, 198)), st.integers(0, 5))
@settings(max_examples=30)
def test_lost_samples_are_counted_exactly(lost, seed):
    """Invariant: whatever blocks are lost, gaps and samples together cover every number once, in order."""
    link = Link()
    timeline = Timeline()

    out = push(timeline, [block for k, block in enumerate(link.blocks(20, seed)) if k not in lost])

    at = 0
    for item in out:
        if isinstance(item, Gap):
            assert (item.reason, item.n_missing % 25) == ("lost-frames", 0)
            at += item.n_missing
        else:
            assert item.sequence == at
            assert item.values[0, 0] == at
            at += item.n_samples
    assert at == 5000
    assert timeline.counters.n_lost_samples == 25 * len(lost)


def test_gap_spans_the_silence():
    """A gap begins where the samples end and ends where they begin again, in host time."""
    link = Link(drift=1300e-6)
    blocks = link.blocks(180)

    out = push(Timeline(), blocks[:900] + blocks[1100:])

    (at,) = [k for k, item in enumerate(out) if isinstance(item, Gap)]
    gap, following = out[at], out[at + 1]
    assert gap.n_missing == 5000
    assert gap.end_ns == following.start_ns
    assert gap.end_ns - gap.start_ns == pytest.approx(20 * 1.0013 * NS_PER_S, abs=5e6)
    assert gap.start_ns == pytest.approx(link.true_ns(22_500), abs=10e6)


def test_silence_of_an_hour_does_not_lose_the_line():
    """After a pulled cable the known drift carries the line until new arrivals speak."""
    link = Link(drift=1300e-6)
    before = link.blocks(120)
    rng = np.random.default_rng(2)
    after = [link.block(900_000 + 25 * k, rng.uniform(0, 0.05)) for k in range(1200)]

    out = push(Timeline(), before + after)

    errors = link.error_ms([item for item in out if isinstance(item, SampleBlock)])
    assert [item.n_missing for item in out if isinstance(item, Gap)] == [870_000]
    assert np.abs(errors[len(before) :]).max() < 300
    assert np.abs(errors[-10:]).max() < 50


@pytest.mark.parametrize("late_s", [0.05, 2.0])
def test_late_block_after_a_silence_does_not_move_the_line(late_s):
    """Nothing but late blocks is known of the new stretch: the old line holds until fast ones come."""
    link = Link(drift=1300e-6)
    before = link.blocks(180)
    after = [link.block(75_000 + 25 * k, late_s) for k in range(50)]

    *_, gap, first = push(Timeline(), [*before, after[0]])
    out = push(Timeline(), before + after)

    assert (gap.reason, gap.n_missing) == ("lost-frames", 30_000)
    assert link.error_ms([first])[0] == pytest.approx(0, abs=10)
    assert np.abs(link.error_ms(out[-50:])).max() < 10


@pytest.mark.parametrize("restarts_at", [300, 900, 3000])
def test_restarted_device_is_a_gap_of_unknown_size(restarts_at):
    """Counters that go back are a new start, not a repeat."""
    link = Link()
    before = link.blocks(restarts_at / 10)
    shift_ns = round(restarts_at / 10 * NS_PER_S) + NS_PER_S
    after = [replace(block, received_at_ns=block.received_at_ns + shift_ns) for block in link.blocks(10)]

    out = push(Timeline(), before + after)

    (at,) = [k for k, item in enumerate(out) if isinstance(item, Gap)]
    assert (out[at].n_missing, out[at].reason) == (None, "device-reset")
    assert out[at + 1].sequence == 0
    assert out[at + 1].start_ns == pytest.approx(shift_ns + BOOT_NS, abs=60e6)


@pytest.mark.parametrize("jump_s", [-30, 30, 400])
def test_clock_that_jumps_is_a_gap_of_unknown_size(jump_s):
    """Ticks that contradict the sample counter: samples were dropped unseen or the clock was set."""
    link = Link()
    blocks = link.blocks(60)
    jumped = [replace(block, device_time_ns=block.device_time_ns + jump_s * NS_PER_S) for block in blocks[500:]]

    out = push(Timeline(), blocks[:500] + jumped)

    assert [(item.n_missing, item.reason) for item in out if isinstance(item, Gap)] == [(None, "device-clock-jump")]
    errors = link.error_ms([item for item in out if isinstance(item, SampleBlock)])
    assert np.abs(errors).max() < 60


def test_repeats_are_dropped_and_counted():
    """A block twice, and a block that overlaps the one before."""
    link = Link()
    timeline = Timeline()
    first, second = link.block(0, 0.01), link.block(15, 0.02)

    out = push(timeline, [first, first, second])

    assert [(item.sequence, item.n_samples) for item in out] == [(0, 25), (25, 15)]
    assert out[1].values[0, 0] == 25
    assert timeline.counters.n_repeated_samples == 35


def test_stream_that_changes_starts_anew():
    """Another rate is another stream: its gap says how much is missing, here nothing."""
    link = Link()
    faster = replace(link.block(25, 0.01), nominal_rate_hz=500.0)

    _, gap, block = push(Timeline(), [link.block(0, 0.01), faster])

    assert (gap.reason, gap.n_missing) == ("stream-changed", 0)
    assert (block.rate_hz, block.sequence) == (500.0, 25)


def test_backfill_is_placed_by_the_last_known_line():
    """Stored samples get the time at which they were taken, and stay flagged; the live stream does not notice."""
    link = Link(drift=1300e-6)
    blocks = link.blocks(180)
    live = blocks[:900] + blocks[1100:1200]
    stored = replace(blocks[1000], is_backfill=True, received_at_ns=live[-1].received_at_ns)
    with_history, without = Timeline(), Timeline()
    push(with_history, live)
    push(without, live)

    (placed,) = with_history.push(stored)

    assert placed.is_backfill
    assert placed.sequence == 25_000
    assert link.error_ms([placed])[0] == pytest.approx(0, abs=5)
    assert with_history.estimate == without.estimate


def test_backfill_without_a_line_is_announced_as_lost():
    """History whose time cannot be known is not given an invented one."""
    stored = replace(Link().block(0, 0.01), is_backfill=True)

    (gap,) = Timeline().push(stored)

    assert (gap.reason, gap.n_missing) == ("backfill-unplaced", 25)


def test_estimate_tells_health_about_the_clock():
    """Rate, drift, offset and jitter are those of the simulated device."""
    link = Link(drift=200e-6, rate_error=-300e-6)
    timeline = Timeline()
    assert timeline.estimate.true_rate_hz is None

    push(timeline, link.blocks(300))

    estimate = timeline.estimate
    assert estimate.drift_ppm == pytest.approx(200, abs=30)
    assert estimate.true_rate_hz == pytest.approx(250 * (1 - 500e-6), rel=30e-6)
    assert estimate.offset_ns == pytest.approx(BOOT_NS + 300 * 200_000, abs=5e6)
    assert estimate.jitter_ms == pytest.approx(47.5, abs=3)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_impossible_rate_is_rejected_and_counted(rate_hz):
    """The block is dropped; the next one says by its sequence what is missing."""
    link = Link()
    timeline = Timeline()

    out = push(
        timeline, [link.block(0, 0.01), replace(link.block(25, 0.01), nominal_rate_hz=rate_hz), link.block(50, 0)]
    )

    assert [getattr(item, "n_missing", None) for item in out] == [None, 25, None]
    assert timeline.counters.n_rejected_blocks == 1


def test_empty_block_leads_to_nothing():
    """No samples, no block, no gap."""
    block = Link().block(0, 0.01)

    assert Timeline().push(replace(block, values=np.empty((0, 1)))) == []


def test_sender_keeps_its_array_writable():
    """The sample block is read-only, the device block's array is left alone."""
    block = Link().block(0, 0.01)

    (placed,) = Timeline().push(block)

    assert block.values.flags.writeable
    assert not placed.values.flags.writeable


@given(st.lists(st.tuples(st.floats(0.05, 5), st.floats(0, 0.1)), min_size=2, max_size=120))
def test_line_lies_under_every_delay(steps):
    """Invariant: no block arrives before the line says it could."""
    envelope = LowerEnvelope(window_s=1e9, min_span_s=10, max_drift_ppm=20_000)
    device_s, seen = 0.0, []
    for step_s, delay_s in steps:
        device_s += step_s
        envelope.add(device_s, delay_s)
        seen.append((device_s, delay_s))

    second_lowest = {}
    for at_s, delay_s in seen:
        second_lowest.setdefault(int(at_s), []).append((at_s, delay_s))
    for points in second_lowest.values():
        slack_s = 0.02 if len(points) > 1 else 1e-9  # one point a second is kept, and drift tilts within it
        assert all(envelope.delay_s(at_s) <= delay_s + slack_s for at_s, delay_s in points)


def test_block_that_is_not_newer_leaves_the_line_alone():
    """Device time that stands still or goes back a little has nothing to say about the link."""
    envelope = LowerEnvelope(window_s=60, min_span_s=10, max_drift_ppm=20_000)
    envelope.add(1.0, 0.02)

    envelope.add(1.0, -5.0)
    envelope.add(0.5, -5.0)

    assert envelope.delay_s(1.0) == 0.02


def test_reset_forgets_the_line():
    """After a reset the next block begins anew, without a gap, and nothing is known of the clock."""
    link = Link(drift=200e-6)
    timeline = Timeline()
    push(timeline, link.blocks(60))

    timeline.reset("device-reset")

    assert timeline.estimate.drift_ppm is None
    (block,) = timeline.push(link.block(50, 0.01))
    assert isinstance(block, SampleBlock)


STRAP = Link(nominal_rate_hz=130.0, n_samples=73, jitter_s=0.1)


def test_late_first_block_is_made_up_for_in_half_a_minute():
    """It came with the whole jitter of a Bluetooth link, 130 ms: at 1 ms a second that would stay for two minutes."""
    blocks = STRAP.blocks(120)
    blocks[0] = replace(blocks[0], received_at_ns=round(STRAP.true_ns(73) + 0.13 * NS_PER_S))

    out = push(Timeline(), blocks)

    errors = STRAP.error_ms(out)
    assert errors[0] == pytest.approx(130, abs=1)
    assert np.abs(errors[round(25 / 0.5615) :]).max() < 50
    assert np.abs(np.diff(errors)).max() < 5e-3 * 561.5 + 0.1  # 5 ms a second at most
    assert_rising(out)


@pytest.mark.parametrize("rate_error", [0.01, -0.01])
def test_rate_that_is_plainly_not_the_nominal_one_is_seen_at_once(rate_error):
    """1 % over ten seconds would be 100 ms; from the sixth block on the device's own time is believed."""
    link = replace(STRAP, rate_error=rate_error, jitter_s=0.0)

    errors = link.error_ms(push(Timeline(), link.blocks(30)))

    assert np.abs(errors).max() < 40
    assert np.abs(errors[round(15 / 0.5615) :]).max() < 10


def test_rate_is_not_read_from_stamps_that_jitter_themselves():
    """Stamps that are off by 30 ms say nothing about the rate in the first ten seconds: the nominal one holds."""
    rng = np.random.default_rng(7)
    n_misled = 0
    for _ in range(40):
        blocks = [
            replace(block, device_time_ns=block.device_time_ns + round(rng.normal(0, 0.03) * NS_PER_S))
            for block in STRAP.blocks(9)
        ]
        out = push(Timeline(), blocks)
        steps_s = np.diff([block.start_ns for block in out]) / NS_PER_S
        n_misled += np.abs(steps_s / (73 / 130) - 1).max() > 0.01

    assert n_misled <= 1


def test_rate_and_drift_over_an_hour_are_known_to_some_ppm():
    """Though each block comes up to 100 ms late, which over a minute leaves more than 100 ppm."""
    link = replace(STRAP, rate_error=1285e-6, drift=-60e-6)
    timeline = Timeline()

    push(timeline, link.blocks(3600))

    true_rate_hz = 130 * (1 + 1285e-6) / (1 - 60e-6)
    assert timeline.estimate.true_rate_hz == pytest.approx(true_rate_hz, rel=20e-6)
    assert timeline.estimate.drift_ppm == pytest.approx(-60, abs=20)


def test_step_of_the_line_does_not_stay_in_the_long_estimate():
    """Half a second that the line was set anew by is no drift of the clocks."""
    link = replace(STRAP, jitter_s=0.0)
    late = [
        replace(block, received_at_ns=block.received_at_ns + (k > 1500) * 2 * NS_PER_S)
        for k, block in enumerate(link.blocks(3600))
    ]
    timeline = Timeline()

    out = push(timeline, late)

    assert [item.reason for item in out if isinstance(item, Gap)] == ["clock-step"]
    assert timeline.estimate.drift_ppm == pytest.approx(0, abs=20)
