"""Samples in device time in; samples on the host's time line out, with what is missing said as gaps.

Fed by the pipeline with the `DeviceBlock` of one stream.  Three things are estimated, none from a single arrival:

true rate
    device time against sample index, by least squares over the last minute;
drift and offset
    the fastest arrivals of the last minute (`clock_line`): a late block never moves the line;
start of a block
    the previous start plus the true intervals between, drawn gently towards that line, so that jitter of the link
    does not become jitter of the RR intervals.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from edge.conditioning.clock_line import NS_PER_S, LongRun, LowerEnvelope
from edge.messages import Channel, DeviceBlock, Gap, SampleBlock

_POINTS = 600  # arrivals remembered for jitter: ten a second over the default window
_MARKS = 120  # of sample index against device time; with 1 ms ticks they give the rate to about 2 ppm
_FIRST_MARKS = 6  # from so many on, a rate that is plainly not the nominal one is believed
_SETTLE_STEP_S = 600.0  # after a step of 2 s the drift read from a minute is wrong for so long
_PLAIN = 8.0  # times the uncertainty of the measured rate; by chance once in 800, of six marks (Student's t)
_MAX_RATE_ERROR = 0.1  # a measured rate further from the nominal one is a clock that jumped
_MAX_DISAGREEMENT = 0.05  # of the time between two blocks: more than any oscillator, see `max_jump_s`
_RATE_HZ = (0.001, 1e6)  # a nominal rate outside is damage, not a sensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineSettings:
    """How device time becomes host time."""

    window_s: float = 60.0
    """How long arrivals and ticks are remembered: long against the jitter of a link, short against the warming of
    an oscillator."""
    min_span_s: float = 10.0
    """Shortest stretch from which rate or drift are read; before it the nominal rate holds, unless it is plainly wrong.
    Over 10 s the fastest
    of a hundred arrivals under 50 ms of jitter leave about 100 ppm of uncertainty."""
    max_drift_ppm: float = 20_000.0
    """Largest rate error believed, 2 %: an uncalibrated RC oscillator; crystals have less than 100 ppm."""
    pull_s: float = 30.0
    """Time constant with which a start is drawn to the line."""
    max_pull_ppm: float = 1_000.0
    """Fastest correction, 1 ms a second: what an RR interval may be wrong by while the line wavers."""
    settling_s: float = 30.0
    """Stretch of a new line in which a start is drawn to it faster: the first block may have come late by the whole
    jitter of the link, 130 ms over Bluetooth, and would stay off for minutes."""
    settling_pull_s: float = 5.0
    """`pull_s` during that time."""
    max_settling_pull_ppm: float = 5_000.0
    """`max_pull_ppm` during that time: an RR interval of 0.8 s is wrong by 4 ms at most, its neighbours by the same."""
    max_step_s: float = 0.5
    """A start further than this from the line is set anew, announced by a gap: pulling would take minutes."""
    max_first_step_s: float = 0.2
    """The same during the first `min_span_s` of a line: a backlog read from a buffer on connecting is late by more,
    the jitter of a sound link is less."""
    max_jump_s: float = 1.0
    """Device time that contradicts the sample counter by more than this, and by 5 % of the time between, is a device
    whose clock or counter jumped."""
    repeat_window_s: float = 5.0
    """A block this much older than the newest is a repeat; an older one means that the device restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEstimate:
    """What is known of a sensor's clock, for health."""

    true_rate_hz: float | None
    """Samples per second of host time; None until it was measured."""
    drift_ppm: float | None
    """Host time gained on device time; None until it was measured."""
    offset_ns: int | None
    """Host minus device time at the newest block; None before the first."""
    jitter_ms: float | None
    """95th percentile of how much later than the fastest blocks arrive; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineCounters:
    """What was seen since the stage was made; a reset does not clear it."""

    n_lost_samples: int
    n_restarts: int
    """Times the line was begun anew because the device's counters contradicted themselves."""
    n_repeated_samples: int
    n_rejected_blocks: int
    """Blocks that can be no samples: a rate of zero or not finite, columns that are no channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    """The newest live block, where the next one is measured from."""

    sequence: int
    n_samples: int
    device_ns: int
    start_ns: int
    end_ns: int
    channels: tuple[Channel, ...]
    nominal_rate_hz: float


class _Line:
    """What one unbroken stretch of a device's clock has taught."""

    def __init__(self, settings: TimelineSettings, block: DeviceBlock) -> None:
        self._settings = settings
        self._nominal_period_s = 1 / block.nominal_rate_hz
        self._origin = (block.sequence, block.device_time_ns, block.received_at_ns)
        self._marks: deque[tuple[int, float]] = deque()  # sample index and device time in s
        self._measured_period_s: float | None = None
        self._lateness_s: deque[float] = deque(maxlen=_POINTS)
        self.envelope = LowerEnvelope(settings.window_s, settings.min_span_s, settings.max_drift_ppm)
        self.long_run = LongRun()

    @property
    def period_s(self) -> float:
        """Device seconds from one sample to the next."""
        return self._measured_period_s or self._nominal_period_s

    @property
    def true_rate_hz(self) -> float | None:
        drift = self.envelope.drift
        if self._measured_period_s is None or drift is None:
            return None
        return self.long_run.rate_hz or 1 / (self._measured_period_s * (1 + drift))

    @property
    def drift(self) -> float | None:
        drift = self.long_run.drift
        return self.envelope.drift if drift is None else drift

    @property
    def jitter_ms(self) -> float:
        return float(np.percentile(self._lateness_s, 95)) * 1e3

    def add(self, block: DeviceBlock) -> None:
        sequence, device_ns, received_at_ns = self._origin
        device_s = (block.device_time_ns - device_ns) / NS_PER_S
        last_sample_s = device_s + len(block.values) * self.period_s  # a block leaves when its last sample is taken
        delay_s = (block.received_at_ns - received_at_ns) / NS_PER_S - last_sample_s
        self.envelope.add(device_s, delay_s)
        self._lateness_s.append(delay_s - self.envelope.delay_s(device_s))
        self._mark(block.sequence - sequence, device_s)

    def host_ns(self, device_time_ns: int) -> int:
        """Return when `device_time_ns` was, by the fastest arrivals."""
        _, device_ns, received_at_ns = self._origin
        device_s = (device_time_ns - device_ns) / NS_PER_S
        return received_at_ns + (device_time_ns - device_ns) + round(self.envelope.delay_s(device_s) * NS_PER_S)

    def elapsed_ns(self, n_samples: int) -> int:
        """Return host time from one sample to the one `n_samples` later."""
        return round(n_samples * self.period_s * (1 + (self.envelope.drift or 0.0)) * NS_PER_S)

    def _mark(self, index: int, device_s: float) -> None:
        window_s = self._settings.window_s
        if self._marks and device_s - self._marks[-1][1] < window_s / _MARKS:
            return
        self._marks.append((index, device_s))
        while self._marks[0][1] < device_s - window_s:
            self._marks.popleft()
        is_long = device_s - self._marks[0][1] >= self._settings.min_span_s
        if not is_long and len(self._marks) < _FIRST_MARKS:
            return
        indices, times_s = np.array(self._marks).T
        indices -= indices.mean()
        times_s -= times_s.mean()
        spread = float(indices @ indices)
        period_s = float(indices @ times_s) / spread
        deviation = abs(period_s / self._nominal_period_s - 1)
        if not is_long:
            residuals_s = times_s - period_s * indices
            error_s = math.sqrt(float(residuals_s @ residuals_s) / (len(times_s) - 2) / spread)
            if deviation * self._nominal_period_s <= _PLAIN * error_s:
                return
        if deviation <= _MAX_RATE_ERROR:
            self._measured_period_s = period_s


class Timeline:
    """Give the blocks of one stream their place on the host's time line."""

    def __init__(self, settings: TimelineSettings = TimelineSettings()) -> None:
        self._settings = settings
        self._n_lost_samples = 0
        self._n_restarts = 0
        self._n_repeated_samples = 0
        self._n_rejected_blocks = 0
        self._newest: _Newest | None = None
        self._line: _Line | None = None

    def push(self, item: DeviceBlock) -> list[SampleBlock | Gap]:
        """Return `item` in host time, after the gap that came before it, if any.

        Parameters
        ----------
        item : DeviceBlock
            ``values`` (n_samples, n_channels), any ``n_samples``; an empty block leads to nothing.

        Returns
        -------
        list of SampleBlock or Gap
            At most one of each.  Between two gaps ``start_ns`` rises.  Gap reasons: ``lost-frames`` (exact number
            missing), ``clock-step`` (nothing missing beyond ``n_missing``, but the time line is set anew),
            ``device-reset`` and ``device-clock-jump`` (number unknown), ``stream-changed`` (other rate or channels),
            ``backfill-unplaced`` (stored samples before any live one: their time cannot be known).
        """
        if not _is_usable(item):
            self._n_rejected_blocks += 1
            return []
        if not len(item.values):
            return []
        if item.is_backfill:
            return [self._place_stored(item)]
        newest, line = self._newest, self._line
        if newest is None or line is None:
            return [self._begin(item)]
        reason = self._contradiction(item, newest, line)
        return self._restart(item, newest, reason) if reason else self._continue(item, newest, line)

    def reset(self, reason: str) -> None:  # noqa: ARG002  one shape for all stages
        """Forget the line and the counters of the device; the next block begins a new one."""
        self._newest = None
        self._line = None

    @property
    def estimate(self) -> TimelineEstimate:
        """What is known of the sensor's clock."""
        newest, line = self._newest, self._line
        if newest is None or line is None:
            return TimelineEstimate(true_rate_hz=None, drift_ppm=None, offset_ns=None, jitter_ms=None)
        drift = line.drift
        return TimelineEstimate(
            true_rate_hz=line.true_rate_hz,
            drift_ppm=None if drift is None else drift * 1e6,
            offset_ns=newest.start_ns - newest.device_ns,
            jitter_ms=line.jitter_ms,
        )

    @property
    def counters(self) -> TimelineCounters:
        """What was seen so far."""
        return TimelineCounters(
            n_lost_samples=self._n_lost_samples,
            n_restarts=self._n_restarts,
            n_repeated_samples=self._n_repeated_samples,
            n_rejected_blocks=self._n_rejected_blocks,
        )

    def _begin(self, block: DeviceBlock) -> SampleBlock:
        line = _Line(self._settings, block)
        line.add(block)
        self._line = line
        return self._emit(block, line.host_ns(block.device_time_ns), line)

    def _continue(self, block: DeviceBlock, newest: _Newest, line: _Line) -> list[SampleBlock | Gap]:
        n_repeated = max(0, newest.sequence + newest.n_samples - block.sequence)
        self._n_repeated_samples += min(n_repeated, len(block.values))
        if n_repeated >= len(block.values):
            return []
        block = _tail(block, n_repeated, line.period_s)
        line.add(block)
        n_missing = block.sequence - newest.sequence - newest.n_samples
        self._n_lost_samples += n_missing
        elapsed_ns = line.elapsed_ns(block.sequence - newest.sequence)
        start_ns = newest.start_ns + elapsed_ns
        error_ns = line.host_ns(block.device_time_ns) - start_ns
        max_step_s = self._settings.max_step_s
        if line.envelope.span_s < self._settings.min_span_s:
            error_ns = min(0, error_ns)  # until the fastest arrivals are known, a later line is only jitter
            max_step_s = self._settings.max_first_step_s
        is_stepping = abs(error_ns) > max_step_s * NS_PER_S
        start_ns += error_ns if is_stepping else self._pull_ns(error_ns, elapsed_ns, line)
        out: list[SampleBlock | Gap] = []
        if n_missing or is_stepping:
            reason = "clock-step" if is_stepping else "lost-frames"
            line.long_run = LongRun(settle_s=_SETTLE_STEP_S) if is_stepping else line.long_run
            out.append(_gap(block, newest, end_ns=start_ns, n_missing=n_missing, reason=reason))
        return [*out, self._emit(block, start_ns, line)]

    def _pull_ns(self, error_ns: int, elapsed_ns: int, line: _Line) -> int:
        """Return how far to move towards the line."""
        settings = self._settings
        is_settling = line.envelope.span_s < settings.settling_s
        pull_s = settings.settling_pull_s if is_settling else settings.pull_s
        max_pull_ppm = settings.max_settling_pull_ppm if is_settling else settings.max_pull_ppm
        share = -math.expm1(-elapsed_ns / (pull_s * NS_PER_S))
        bound_ns = max_pull_ppm * 1e-6 * elapsed_ns
        return round(max(-bound_ns, min(bound_ns, share * error_ns)))

    def _contradiction(self, block: DeviceBlock, newest: _Newest, line: _Line) -> str | None:
        """Return why `block` cannot continue the line, or None."""
        if (block.channels, block.nominal_rate_hz) != (newest.channels, newest.nominal_rate_hz):
            return "stream-changed"
        ahead_s = (block.sequence - newest.sequence) * line.period_s
        disagreement_s = abs((block.device_time_ns - newest.device_ns) / NS_PER_S - ahead_s)
        is_jump = disagreement_s > self._settings.max_jump_s + _MAX_DISAGREEMENT * abs(ahead_s)
        if block.sequence < newest.sequence + newest.n_samples:
            return "device-reset" if is_jump or -ahead_s > self._settings.repeat_window_s else None
        return "device-clock-jump" if is_jump else None

    def _restart(self, block: DeviceBlock, newest: _Newest, reason: str) -> list[SampleBlock | Gap]:
        self._n_restarts += 1
        n_missing = block.sequence - newest.sequence - newest.n_samples if reason == "stream-changed" else -1
        first = self._begin(block)
        known = n_missing if n_missing >= 0 else None
        return [_gap(block, newest, end_ns=first.start_ns, n_missing=known, reason=reason), first]

    def _place_stored(self, block: DeviceBlock) -> SampleBlock | Gap:
        newest, line = self._newest, self._line
        if newest is None or line is None:
            self._n_lost_samples += len(block.values)
            return Gap(
                sensor=block.sensor,
                stream=block.stream,
                start_ns=block.received_at_ns,
                end_ns=block.received_at_ns,
                n_missing=len(block.values),
                reason="backfill-unplaced",
            )
        since_ns = block.device_time_ns - newest.device_ns
        drift_ns = round(since_ns * (line.envelope.drift or 0.0))
        return _sample_block(block, newest.start_ns + since_ns + drift_ns)

    def _emit(self, block: DeviceBlock, start_ns: int, line: _Line) -> SampleBlock:
        line.long_run.add(start_ns, block.device_time_ns, block.sequence)
        self._newest = _Newest(
            sequence=block.sequence,
            n_samples=len(block.values),
            device_ns=block.device_time_ns,
            start_ns=start_ns,
            end_ns=start_ns + line.elapsed_ns(len(block.values)),
            channels=block.channels,
            nominal_rate_hz=block.nominal_rate_hz,
        )
        return _sample_block(block, start_ns)


def _sample_block(block: DeviceBlock, start_ns: int) -> SampleBlock:
    return SampleBlock(
        sensor=block.sensor,
        stream=block.stream,
        channels=block.channels,
        values=block.values[:],  # a view, so that setting it read-only leaves the sender's array alone
        rate_hz=block.nominal_rate_hz,
        start_ns=start_ns,
        sequence=block.sequence,
        is_backfill=block.is_backfill,
    )


def _gap(block: DeviceBlock, newest: _Newest, *, end_ns: int, n_missing: int | None, reason: str) -> Gap:
    return Gap(
        sensor=block.sensor,
        stream=block.stream,
        start_ns=newest.end_ns,
        end_ns=max(end_ns, newest.end_ns),
        n_missing=n_missing,
        reason=reason,
    )


def _tail(block: DeviceBlock, n_skipped: int, period_s: float) -> DeviceBlock:
    if not n_skipped:
        return block
    return replace(
        block,
        values=block.values[n_skipped:],
        sequence=block.sequence + n_skipped,
        device_time_ns=block.device_time_ns + round(n_skipped * period_s * NS_PER_S),
    )


def _is_usable(block: DeviceBlock) -> bool:
    is_table = block.values.ndim == 2 and block.values.shape[1] == len(block.channels)
    return is_table and _RATE_HZ[0] <= block.nominal_rate_hz <= _RATE_HZ[1]
