"""One stream of a device under test: R8 and R11 to R14, judged from its packets.  Used by `firmware_watch`; pure.

Which of two counters is wrong when they contradict each other, the host's clock decides: between two packets it, the
ticks and the sample counter have all moved by some time, and the odd one out broke its rule.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.acquisition.packets import SamplesPacket, StreamDescriptor
from edge.acquisition.unrolling import NS_PER_S, unroll
from edge.firmware.firmware_rules import Ledger

RATE_SHARE = 0.05
"""Rates, clocks and counters that differ by more than this are wrong; `bridge_streams` draws the line there too."""
LEAST_STEP_S = 0.05
"""A contradiction between counters below this is not told from the line's own jitter (USB serial: 16 ms at most)."""
_MEMORY_S = 12.0
"""Live samples kept to be compared with the same ones when they are sent again as back-fill."""
_SPREADS = 8.0
"""A step this many times the usual spread is one that the device's own polling does not explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePacket:
    """One packet of live samples, counters unrolled."""

    sequence: int
    ticks: int
    n_samples: int
    received_at_ns: int
    counts: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    n_samples: int
    n_ticks: int
    host_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """What was measured of one stream."""

    name: str
    nominal_rate_hz: float
    true_rate_hz: float | None
    """By the host's clock; None below two packets."""
    n_samples: int
    n_lost_samples: int
    """Counted by the device and never sent, while the stream was running."""
    n_backfilled_samples: int
    n_packets: int

    @property
    def loss_pct(self) -> float:
        """Lost of all samples that the device took while the stream was running."""
        n_taken = self.n_samples + self.n_lost_samples
        return 100.0 * self.n_lost_samples / n_taken if n_taken else 0.0


class StreamWatch:
    """Judges the samples of one stream within one boot.

    Parameters
    ----------
    descriptor : StreamDescriptor
        As the hello says.
    tick_rate_hz : int
        Of the hello.
    ledger : Ledger
        Told what was seen.
    """

    def __init__(self, descriptor: StreamDescriptor, tick_rate_hz: int, ledger: Ledger) -> None:
        self.descriptor = descriptor
        self.asked_range: tuple[int, int] | None = None
        """First and last-but-one sample number that the host asked for, modulo 2³²; None if it never did."""
        self.n_backfilled_samples = 0
        self.last: LivePacket | None = None
        self.n_packets = 0
        self._tick_rate_hz = tick_rate_hz
        self._ledger = ledger
        self._memory: deque[LivePacket] = deque()
        self._segments: list[tuple[StreamDescriptor, list[_Step]]] = [(descriptor, [])]
        self._last_samples: list[tuple[int, int]] = []  # ticks of the last sample of a packet, and its arrival
        self._is_stopped = False
        self._is_new_segment = False
        self._n_samples = 0
        self._n_lost_samples = 0

    def describe(self, descriptor: StreamDescriptor) -> None:
        """Take another hello of the same boot."""
        if descriptor.rate_mhz != self.descriptor.rate_mhz:
            self._segments.append((descriptor, []))
            self._is_new_segment = True  # the packet in which the rate changed has samples of both
        if not descriptor.is_running:
            self._is_stopped = True
        self.descriptor = descriptor

    def expect_pause(self) -> None:
        """Note that samples will be missing because the host stopped the stream."""
        self._is_stopped = True

    def take(self, packet: SamplesPacket, ticks: int, received_at_ns: int, evidence: str) -> None:
        """Judge one packet whose stream and channels match the hello.

        Parameters
        ----------
        packet : SamplesPacket
        ticks : int
            Those of a live packet, unrolled.
        received_at_ns : int
        evidence : str
            Its bytes, for the report.
        """
        counts = packet.counts()
        self._judge_limits(counts, evidence)
        if packet.is_backfill:
            self._judge_stored(packet, counts, evidence)
            return
        self.n_packets += 1
        last = self.last
        sequence = packet.sequence if last is None else unroll(packet.sequence, last.sequence + last.n_samples)
        live = LivePacket(
            sequence=sequence,
            ticks=ticks,
            n_samples=packet.n_samples,
            received_at_ns=received_at_ns,
            counts=counts,
        )
        if last is not None and sequence < last.sequence + last.n_samples:
            self._judge_return(live, last, evidence)
            return
        self._n_samples += live.n_samples
        if last is not None:
            self._n_lost_samples += 0 if self._is_stopped else sequence - last.sequence - last.n_samples
            self._note_step(live, last)
        self._is_stopped = False
        self.last = live
        self._last_samples.append((live.ticks + self._ticks_of(live.n_samples - 1), received_at_ns))
        self._memory.append(live)
        while live.received_at_ns - self._memory[0].received_at_ns > _MEMORY_S * NS_PER_S:
            self._memory.popleft()

    def summary(self) -> StreamSummary:
        """Return what was measured so far."""
        descriptor, steps = max(self._segments, key=lambda segment: len(segment[1]))
        host_s = sum(step.host_s for step in steps)
        return StreamSummary(
            name=descriptor.name,
            nominal_rate_hz=descriptor.rate_mhz / 1000,
            true_rate_hz=sum(step.n_samples for step in steps) / host_s if host_s > 0 else None,
            n_samples=self._n_samples,
            n_lost_samples=self._n_lost_samples,
            n_backfilled_samples=self.n_backfilled_samples,
            n_packets=self.n_packets,
        )

    def live_gap_s(self, start_ns: int, end_ns: int) -> float:
        """Return the longest time without a live packet between two instants."""
        at_ns = [live.received_at_ns for live in self._memory if start_ns <= live.received_at_ns <= end_ns]
        edges = [start_ns, *at_ns, end_ns]
        return max(after - before for before, after in itertools.pairwise(edges)) / NS_PER_S

    def judge(self, ticks_per_s: float | None, ticks_at_zero: float | None) -> None:
        """Give the verdicts that need the whole run.

        Parameters
        ----------
        ticks_per_s, ticks_at_zero : float or None
            The device's clock against the host's, as a line; None where it could not be measured.
        """
        for descriptor, steps in self._segments:
            self._judge_steps(steps)
            self._judge_rate(descriptor, steps, ticks_per_s or self._tick_rate_hz)
        if ticks_per_s is not None and ticks_at_zero is not None:
            self._judge_future(ticks_per_s, ticks_at_zero)

    def _judge_limits(self, counts: NDArray[np.int32], evidence: str) -> None:
        for k, channel in enumerate(self.descriptor.channels):
            low, high = int(counts[:, k].min()), int(counts[:, k].max())
            if low < channel.minimum_counts or high > channel.maximum_counts:
                self._ledger.fail(
                    13,
                    f"{self.descriptor.name}: channel {channel.name or k} leaves its limits "
                    f"{channel.minimum_counts} to {channel.maximum_counts}",
                    f"counts {low} to {high}, {evidence}",
                )
        self._ledger.show(13, "counts lie within the limits of their channels")

    def _judge_return(self, live: LivePacket, last: LivePacket, evidence: str) -> None:
        """Judge samples with old numbers: sent again, or counted anew."""
        name = self.descriptor.name
        is_old = any(each.sequence <= live.sequence < each.sequence + each.n_samples for each in self._memory)
        back_s = (last.ticks - live.ticks) / self._tick_rate_hz
        if is_old and back_s > -LEAST_STEP_S:
            self._ledger.fail(8, f"{name}: samples came twice", evidence)
            return
        self._ledger.fail(
            11,
            f"{name}: the sample counter went back from {last.sequence + last.n_samples} to {live.sequence}",
            evidence,
        )
        self.last = live

    def _note_step(self, live: LivePacket, last: LivePacket) -> None:
        if self._is_new_segment:
            self._is_new_segment = False
            return
        self._segments[-1][1].append(
            _Step(
                n_samples=live.sequence - last.sequence,
                n_ticks=live.ticks - last.ticks,
                host_s=(live.received_at_ns - last.received_at_ns) / NS_PER_S,
            )
        )

    def _judge_steps(self, steps: list[_Step]) -> None:
        if len(steps) < 3:
            return
        name = self.descriptor.name
        ticks_per_sample = median(step.n_ticks / step.n_samples for step in steps)
        off_s = [(step.n_ticks - step.n_samples * ticks_per_sample) / self._tick_rate_hz for step in steps]
        usual_s = median(abs(off) for off in off_s)
        sample_s = abs(ticks_per_sample) / self._tick_rate_hz
        for step, off in zip(steps, off_s, strict=True):
            share_s = RATE_SHARE * abs(step.n_samples) * sample_s
            if abs(off) <= max(LEAST_STEP_S, 2 * sample_s, _SPREADS * usual_s, share_s):
                continue
            by_ticks_s, by_samples_s = step.n_ticks / self._tick_rate_hz, step.n_samples * sample_s
            says = f"ticks moved {by_ticks_s:.2f} s, samples {by_samples_s:.2f} s, the host's clock {step.host_s:.2f} s"
            if abs(step.host_s - by_ticks_s) < abs(step.host_s - by_samples_s):
                self._ledger.fail(11, f"{name}: the sample counter left samples out or counted too many", says)
            else:
                self._ledger.fail(12, f"{name}: ticks stopped or stepped", says)
        self._ledger.show(11, "sample counters and ticks agree")
        self._ledger.show(12, "ticks go on without a step")

    def _judge_rate(self, descriptor: StreamDescriptor, steps: list[_Step], ticks_per_s: float) -> None:
        if len(steps) < 3:
            self._ledger.miss(13, f"{descriptor.name}: too few packets to measure its rate")
            return
        ticks_per_sample = median(step.n_ticks / step.n_samples for step in steps)
        nominal_hz = descriptor.rate_mhz / 1000
        rate_hz = ticks_per_s / ticks_per_sample if ticks_per_sample > 0 else 0.0
        if abs(rate_hz / nominal_hz - 1) > RATE_SHARE:
            self._ledger.fail(13, f"{descriptor.name}: says {nominal_hz:g} Hz and sends {rate_hz:.4g} Hz")
        else:
            self._ledger.show(13, f"rates are true to {100 * RATE_SHARE:.0f} %")

    def _judge_future(self, ticks_per_s: float, ticks_at_zero: float) -> None:
        """Judge whether ticks are those of the first sample: stamped when sent, the last one would be still to come."""
        sample_s = 1000 / self.descriptor.rate_mhz
        slack_s = LEAST_STEP_S / 2 + 2 * sample_s
        ahead_s = [
            (ticks - (ticks_at_zero + ticks_per_s * at_ns / NS_PER_S)) / ticks_per_s
            for ticks, at_ns in self._last_samples
        ]
        if ahead_s and max(ahead_s) > slack_s:
            self._ledger.fail(
                12,
                f"{self.descriptor.name}: ticks are not those of the first sample: "
                "by them, samples arrive before they are taken",
                f"up to {1000 * max(ahead_s):.0f} ms early",
            )

    def _judge_stored(self, packet: SamplesPacket, counts: NDArray[np.int32], evidence: str) -> None:
        name, n_samples = self.descriptor.name, packet.n_samples
        if self.asked_range is None:
            self._ledger.fail(14, f"{name}: back-fill that nobody asked for", evidence)
            return
        start, end = self.asked_range
        sequence = unroll(packet.sequence, start)
        self.n_backfilled_samples += n_samples
        if not (start <= sequence and sequence + n_samples <= end):
            self._ledger.fail(14, f"{name}: back-fill outside of what was asked for", evidence)
            return
        for live in self._memory:
            low, high = max(live.sequence, sequence), min(live.sequence + live.n_samples, sequence + n_samples)
            if low >= high:
                continue
            taken, again = (
                counts[low - sequence : high - sequence],
                live.counts[low - live.sequence : high - live.sequence],
            )
            if not np.array_equal(taken, again):
                self._ledger.fail(14, f"{name}: back-fill has other values than the live samples had", evidence)
            # Ticks are those of the first sample of each packet, so they are compared where both packets are the same.
            expected = live.ticks + self._ticks_of(sequence - live.sequence)
            off_s = (unroll(packet.ticks, expected) - expected) / self._tick_rate_hz
            if abs(off_s) > LEAST_STEP_S + 2000 / self.descriptor.rate_mhz:
                self._ledger.fail(14, f"{name}: back-fill has other ticks than the live samples had", evidence)

    def _ticks_of(self, n_samples: int) -> int:
        return n_samples * self._tick_rate_hz * 1000 // self.descriptor.rate_mhz
