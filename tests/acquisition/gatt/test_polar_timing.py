"""What a Polar stream lost is counted exactly from stamps alone, whatever its true rate; a clock that is set costs none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt.polar_timing import Dropped, FrameClock, Placed

NS_PER_S = 1_000_000_000
BASE_NS = 599_616_000 * NS_PER_S  # the clock of a sensor that was never set
HOST_NS = 5 * NS_PER_S


class Strap:
    """Frames of a strap: stamps by its own clock, arrivals by ours."""

    def __init__(
        self,
        true_rate_hz: float = 130.0452,
        sizes: int | list[int] = 73,
        n_frames: int = 200,
        *,
        jitter_s: float = 0.1,
        stamp_jitter_s: float = 2e-4,
        seed: int = 1,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.sizes = [sizes] * n_frames if isinstance(sizes, int) else sizes
        self.ends = np.cumsum(self.sizes)
        last_s = (self.ends - 1) / true_rate_hz
        self.stamps = [BASE_NS + round(s * NS_PER_S) for s in last_s + rng.uniform(-1, 1, len(last_s)) * stamp_jitter_s]
        arrivals_s = np.maximum.accumulate(last_s + rng.uniform(0, jitter_s, len(last_s)))
        self.arrivals = [HOST_NS + round(s * NS_PER_S) for s in arrivals_s]

    def send(self, clock: FrameClock, order: list[int], shift_ns: int = 0) -> list[Placed | Dropped]:
        newest_ns = 0
        out = []
        for k in order:
            newest_ns = max(newest_ns, self.arrivals[k])
            out.append(clock.place(self.stamps[k] + shift_ns, self.sizes[k], newest_ns))
        return out


def lost(placed: list[Placed | Dropped]) -> int:
    return sum(each.n_lost_samples for each in placed if isinstance(each, Placed))


RATES = [130.0, 130.0452, 130.167, 128.7, 131.3]


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("n_lost", [1, 2, 5, 20])
@pytest.mark.parametrize("at", [1, 2, 3, 10, 150])
def test_loss_is_exact_from_the_second_frame_on(rate_hz, n_lost, at):
    """One frame or twenty in a row, right after the start or later, with the true rate up to 1 % off."""
    strap = Strap(rate_hz)

    placed = strap.send(FrameClock(130.0), [k for k in range(200) if not at <= k < at + n_lost])

    assert lost(placed) == 73 * n_lost
    assert placed[-1].sequence == 73 * 199
    assert sum(each.n_lost_frames for each in placed) == n_lost


@pytest.mark.parametrize("rate_hz", RATES)
def test_nothing_lost_is_nothing_counted(rate_hz):
    """An hour without a loss."""
    strap = Strap(rate_hz, n_frames=6400)

    placed = strap.send(FrameClock(130.0), list(range(6400)))

    assert lost(placed) == 0
    assert [each.sequence for each in placed] == [73 * k for k in range(6400)]


@pytest.mark.parametrize("rate_hz", [51.5, 52.0, 52.5])
def test_frames_of_changing_size_are_counted_exactly(rate_hz):
    """Compressed frames hold as many samples as fit: there the sample is the unit, once the period is learnt."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(30, 70, size=300).tolist()
    strap = Strap(rate_hz, sizes)
    missing = {20, 50, 51, 100, 101, 102, 103, 104, 250}

    placed = strap.send(FrameClock(52.0), [k for k in range(300) if k not in missing])

    assert lost(placed) == sum(sizes[k] for k in missing)


def test_duplicates_are_dropped():
    """Each frame twice, and one again much later."""
    strap = Strap()

    placed = strap.send(FrameClock(130.0), [k for k in range(100) for _ in range(2)] + [70])

    assert placed.count(Dropped("duplicate")) == 101
    assert lost(placed) == 0


def test_late_frames_are_dropped_and_stay_counted_as_lost():
    """A frame that another one overtook, or several: their samples were announced as missing already."""
    strap = Strap()
    order = [*range(50), 51, 50, *range(52, 80), 82, 83, 80, 81, *range(84, 120)]

    placed = strap.send(FrameClock(130.0), order)

    assert placed.count(Dropped("late")) == 3
    assert lost(placed) == 3 * 73
    assert placed[-1].sequence == 73 * 119


@given(st.data())
def test_any_mixture_of_losses_copies_and_swaps_is_counted_exactly(data):
    """What was delivered and what was counted as lost are all samples, once each, and numbers only rise."""
    n_frames = 60
    strap = Strap(data.draw(st.sampled_from(RATES)), n_frames=n_frames, seed=data.draw(st.integers(0, 99)))
    fates = data.draw(st.lists(st.sampled_from("....lds"), min_size=n_frames, max_size=n_frames))
    order: list[int] = []
    for k, fate in enumerate(fates):
        order += {".": [k], "l": [], "d": [k, k], "s": [k]}[fate]
        if fate == "s" and len(order) > 2:  # before the first frame nothing was missing
            order[-2:] = order[:-3:-1]
    if not order:
        return

    placed = [each for each in strap.send(FrameClock(130.0), order) if isinstance(each, Placed)]

    delivered = [73 * k for k in order[:1]]
    newest = order[0]
    for k in order[1:]:
        if k > newest:
            delivered.append(73 * k)
            newest = k
    assert [each.sequence + delivered[0] for each in placed if not each.is_jump] == delivered
    assert lost(placed) == sum(b - a - 73 for a, b in pairwise(delivered))


@pytest.mark.parametrize(
    "shift_s", [1e8, 1.3, -0.4, -3.0, -1e6], ids=["six years", "a second", "a bit back", "back", "far back"]
)
def test_clock_that_is_set_is_a_jump_and_loses_nothing(shift_s):
    """Setting the time moves the stamps and not the samples: no sample is counted as lost, however far it moves."""
    strap = Strap(jitter_s=0.05)
    clock = FrameClock(130.0)

    before = strap.send(clock, list(range(13)))
    after = strap.send(clock, list(range(13, 200)), shift_ns=round(shift_s * NS_PER_S))

    assert [each.is_jump for each in after] == [True] + [False] * 186
    assert lost(before + after) == 0
    assert after[-1].sequence == 73 * 199


def test_stall_and_the_burst_after_it_are_no_jump():
    """Five frames come at once after 3 s of silence: late, but in order and with sound stamps."""
    strap = Strap()
    for k in range(100, 105):
        strap.arrivals[k] = strap.arrivals[105]

    placed = strap.send(FrameClock(130.0), list(range(200)))

    assert not any(each.is_jump for each in placed)
    assert lost(placed) == 0


def test_loss_behind_a_stall_is_a_loss():
    """One frame waits 4 s in a queue that then overflows: the next ones come soon after it, from 4 s later."""
    strap = Strap()
    strap.arrivals[100] = strap.arrivals[107]

    placed = strap.send(FrameClock(130.0), [*range(101), *range(108, 200)])

    assert not any(each.is_jump for each in placed)
    assert lost(placed) == 7 * 73


@pytest.mark.parametrize("n_missing", [1300, 18 * 73 + 1, 18 * 73 - 1])
def test_pause_of_a_stopped_stream_is_counted_to_the_sample(n_missing):
    """Stopped for ten seconds and started again: what is missing need be no whole number of frames."""
    strap = Strap(stamp_jitter_s=0.0)
    clock = FrameClock(130.0)
    strap.send(clock, list(range(100)))

    pause_ns = round(n_missing / 130.0452 * NS_PER_S)
    again = clock.place(strap.stamps[100] + pause_ns, 73, strap.arrivals[100] + pause_ns, is_restart=True)

    assert again.n_lost_samples == n_missing
    assert again.n_lost_frames == 0


def test_time_of_the_first_sample_is_on_the_grid():
    """First frame by the nominal rate, later ones from the stamps: steps are true to a part in ten thousand."""
    strap = Strap(stamp_jitter_s=0.0)

    placed = strap.send(FrameClock(130.0), [k for k in range(100) if k not in {40, 41}])

    truth = np.array([BASE_NS + each.sequence / 130.0452 * NS_PER_S for each in placed])
    errors_ms = (np.array([each.first_ns for each in placed]) - truth) / 1e6
    assert abs(errors_ms[0]) < 0.2  # 72 intervals with 348 ppm
    assert np.abs(errors_ms[1:]).max() < 0.01


@given(
    st.floats(0.1, 1000.0),
    st.lists(
        st.tuples(st.integers(0, 1 << 62), st.integers(1, 2048), st.integers(-(1 << 62), 1 << 62), st.booleans()),
        max_size=30,
    ),
)
def test_any_stamps_are_placed_or_dropped(rate_hz, frames):
    """Numbers never go back, whatever the stamps and the arrivals say."""
    clock = FrameClock(rate_hz)
    next_sequence = 0

    for time_ns, n_samples, received_at_ns, is_restart in frames:
        placed = clock.place(time_ns, n_samples, received_at_ns, is_restart=is_restart)
        if isinstance(placed, Placed):
            assert placed.sequence >= next_sequence
            next_sequence = placed.sequence + n_samples
            assert clock.next_sequence == next_sequence
