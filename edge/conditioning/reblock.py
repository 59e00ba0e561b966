"""SampleBlocks of any length -> SampleBlocks cut on one fixed grid, with missing samples taken out and announced.

The grid is counted in samples from the beginning of the stream (``sequence``), so everything downstream sees the same
blocks however the link cut the data: decisions that are taken once per block become independent of the chunking.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from edge.conditioning.sample_times import SampleTimes
from edge.messages import Gap, SampleBlock, Samples


@dataclass(frozen=True, kw_only=True, slots=True)
class ReblockSettings:
    """How long the blocks are."""

    block_s: float = 0.2
    """Length of a block.  0.2 s keeps the delay of a display unnoticeable and costs 5 passes a second (own choice)."""
    gap_report_s: float = 10.0
    """A run of missing samples is reported at its end, and at least this often while it lasts (own choice)."""

    def __post_init__(self) -> None:
        if not 0 < self.block_s <= self.gap_report_s:
            raise ValueError(f"expected 0 < block_s <= gap_report_s, got {self.block_s} and {self.gap_report_s}")


class Reblock:
    """Cut a stream of blocks on a fixed grid of samples.

    A row in which every channel is missing (NaN; an infinity counts as NaN) is taken out: the stream goes on with a
    jump of ``sequence`` and a `Gap` with reason ``missing-samples`` stands between.  A row in which only some channels
    are missing stays, with NaN in these channels.  A jump of ``sequence``, or a changed stream, rate or channel list,
    ends the block that was being filled.  A changed format also gives a `Gap` with reason ``format-change``.

    Parameters
    ----------
    settings : ReblockSettings
        Length of the blocks.
    """

    def __init__(self, settings: ReblockSettings = ReblockSettings()) -> None:
        self._settings = settings
        self._format: SampleBlock | None = None
        self._times: SampleTimes | None = None
        self._expected_sequence: int | None = None
        self._parts: list[Samples] = []
        self._n_held_samples = 0
        self._held_sequence: int | None = None
        self._held_start_ns: int | None = None
        self._missing: tuple[int, int] | None = None

    def push(self, item: SampleBlock) -> list[SampleBlock | Gap]:
        """Return the blocks and gaps that `item` completed, in order of time."""
        if item.n_samples == 0:
            return []
        out: list[SampleBlock | Gap] = []
        if self._format is not None and not _is_same_format(self._format, item):
            out += self.flush()
            out.append(_gap(item, self._now_ns(), item.start_ns, None, "format-change"))
            self._forget()
        elif self._expected_sequence is not None and item.sequence != self._expected_sequence:
            out += self.flush()
            self._times = None
        self._format = item
        if self._times is None:
            self._times = SampleTimes(item.rate_hz)
        self._times.add(item.sequence, item.start_ns)
        values = item.values
        if np.isfinite(values).all():
            out += self._present(values, item.sequence)
        else:
            values = np.where(np.isinf(values), np.nan, values)
            is_missing = np.asarray(np.isnan(values).all(axis=1))
            edges = [0, *(np.flatnonzero(np.diff(is_missing)) + 1).tolist(), len(values)]
            for first, last in itertools.pairwise(edges):
                if is_missing[first]:
                    out += self._absent(item.sequence + first, last - first)
                else:
                    out += self._present(values[first:last], item.sequence + first)
        self._expected_sequence = item.sequence + item.n_samples
        return out

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the block that was being filled."""
        self._forget()

    def flush(self) -> list[SampleBlock | Gap]:
        """Return the block, or the gap, that was not complete yet."""
        return [*self._close_gap(), *self._close_block()]

    # --- samples that are there -----------------------------------------------------------------------------

    def _present(self, values: Samples, sequence: int) -> list[SampleBlock | Gap]:
        out: list[SampleBlock | Gap] = self._close_gap()
        n_block = self._n_block_samples()
        at = 0
        while at < len(values):
            n_wanted = n_block - (sequence + at) % n_block
            part = values[at : at + n_wanted]
            if self._held_sequence is None:
                self._held_sequence = sequence + at
                self._held_start_ns = self._time_ns(sequence + at)
            self._parts.append(part)
            self._n_held_samples += len(part)
            at += len(part)
            if len(part) == n_wanted:
                out += self._close_block()
        return out

    def _close_block(self) -> list[SampleBlock | Gap]:
        if self._format is None or self._held_sequence is None or self._held_start_ns is None:
            return []
        values = self._parts[0].copy() if len(self._parts) == 1 else np.concatenate(self._parts)
        block = replace(self._format, values=values, sequence=self._held_sequence, start_ns=self._held_start_ns)
        self._parts = []
        self._n_held_samples = 0
        self._held_sequence = None
        self._held_start_ns = None
        return [block]

    # --- samples that are not -------------------------------------------------------------------------------

    def _absent(self, sequence: int, n_missing: int) -> list[SampleBlock | Gap]:
        out = self._close_block()
        end = sequence + n_missing
        self._expected_sequence = end
        if self._missing is None:
            self._missing = (sequence, self._time_ns(sequence))
        n_report = max(1, round(self._settings.gap_report_s * self._rate_hz()))
        while self._missing is not None and (cut := self._missing[0] + n_report) <= end:
            out += self._close_gap(cut)
            self._missing = (cut, self._time_ns(cut)) if cut < end else None
        return out

    def _close_gap(self, end_sequence: int | None = None) -> list[SampleBlock | Gap]:
        if self._missing is None or self._format is None or self._expected_sequence is None:
            return []
        first, start_ns = self._missing
        end = self._expected_sequence if end_sequence is None else end_sequence
        self._missing = None
        return [_gap(self._format, start_ns, self._time_ns(end), end - first, "missing-samples")]

    # --- time -----------------------------------------------------------------------------------------------

    def _time_ns(self, sequence: int) -> int:
        assert self._times is not None
        return self._times.at_ns(sequence)

    def _now_ns(self) -> int:
        assert self._expected_sequence is not None
        return self._time_ns(self._expected_sequence)

    def _rate_hz(self) -> float:
        assert self._format is not None
        return self._format.rate_hz

    def _n_block_samples(self) -> int:
        return max(1, round(self._settings.block_s * self._rate_hz()))

    def _forget(self) -> None:
        self._format = None
        self._times = None
        self._expected_sequence = None
        self._parts = []
        self._n_held_samples = 0
        self._held_sequence = None
        self._held_start_ns = None
        self._missing = None


def _is_same_format(one: SampleBlock, other: SampleBlock) -> bool:
    return (
        one.rate_hz == other.rate_hz
        and one.channels == other.channels
        and one.sensor == other.sensor
        and one.stream == other.stream
        and one.is_backfill == other.is_backfill
    )


def _gap(block: SampleBlock, start_ns: int, end_ns: int, n_missing: int | None, reason: str) -> Gap:
    return Gap(
        sensor=block.sensor,
        stream=block.stream,
        start_ns=start_ns,
        end_ns=max(start_ns, end_ns),
        n_missing=n_missing,
        reason=reason,
    )
