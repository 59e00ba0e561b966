"""``--noise``: the source of a virtual sensor with noise at a defined signal-to-noise ratio in its ECG."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.acquisition.wfdb_file import open_record
from edge.cli.options import option_error
from edge.features.ecg_beats import EcgBeats
from edge.messages import ChannelKind, SampleBlock, Samples, StreamInfo
from firmware_bridge.virtual.noise_stress import (
    SURROGATES,
    StressedSource,
    StressSchedule,
    at_rate,
    ecg_stream,
    stress_gains,
    surrogate,
)
from firmware_bridge.virtual.source import Source

_MEASURED_S = 300.0
_SURROGATE_S = 1800.0
_BLOCK_SAMPLES = 10_000


def add_noise_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--noise``, ``--snr`` and ``--noise-after``."""
    parser.add_argument(
        "--noise",
        metavar="RECORD",
        help="add this noise to the ECG: a recording such as nstdb/ma, or a synthetic one: " + ", ".join(SURROGATES),
    )
    parser.add_argument("--snr", type=float, default=6.0, metavar="DB", help="signal-to-noise ratio (default 6)")
    parser.add_argument(
        "--noise-after",
        type=float,
        default=StressSchedule().clean_s,
        metavar="S",
        help="clean seconds before it; then 2 min noisy and 2 min clean alternate (default 300)",
    )


def with_noise(make_source: Callable[[], Source], args: argparse.Namespace) -> Source:
    """Return a fresh source with the noise that `args` ask for.

    Parameters
    ----------
    make_source : callable
        Gives the source from its beginning; called twice, because the amplitude of the first five minutes is measured
        beforehand.
    args : argparse.Namespace
        With the options of `add_noise_options`.

    Raises
    ------
    ConfigError
        If the noise cannot be had, the source has no ECG, or its beats cannot be found.
    """
    if not math.isfinite(args.snr):
        raise option_error("--snr", f"expected a number of decibels, got {args.snr:g}")
    if not 0 <= args.noise_after < math.inf:
        raise option_error("--noise-after", f"expected seconds from 0, got {args.noise_after:g}")
    preview = make_source()
    stream = ecg_stream(preview)
    if stream is None:
        raise option_error("--noise", "expected a source with an ECG stream, got none")
    rate_hz = stream.nominal_rate_hz
    leads = preview.read(stream.name, round(_MEASURED_S * rate_hz))
    noise = _noise(args.noise, rate_hz)
    try:
        gains = stress_gains(leads, _beats(leads, stream), noise, rate_hz, snr_db=args.snr)
    except ValueError as error:
        raise option_error("--noise", str(error)) from error
    return StressedSource(make_source(), stream.name, noise, gains, StressSchedule(clean_s=args.noise_after))


def _noise(name: str, rate_hz: float) -> NDArray[np.float64]:
    """Return noise at `rate_hz`, shape (n, k)."""
    if name in SURROGATES and not Path(f"{name}.hea").exists():
        return surrogate(name, round(_SURROGATE_S * rate_hz), rate_hz)[:, None]
    blocks = [block for block in open_record(name).blocks(_BLOCK_SAMPLES) if isinstance(block, SampleBlock)]
    if not blocks:
        raise option_error("--noise", f"expected a recording with samples, got {name}")
    same = [block for block in blocks if block.stream == blocks[0].stream]
    values = np.nan_to_num(np.concatenate([block.values for block in same]))
    return at_rate(values, same[0].rate_hz, rate_hz)


def _beats(leads: Samples, stream: StreamInfo) -> list[int]:
    """Return the samples of the R peaks; the amplitude is measured there."""
    assert all(channel.kind is ChannelKind.ECG for channel in stream.channels)
    stage = EcgBeats()
    block = SampleBlock(
        sensor="preview",
        stream=stream.name,
        channels=stream.channels,
        values=leads,
        rate_hz=stream.nominal_rate_hz,
        start_ns=0,
        sequence=0,
    )
    return [beat.sequence for beat in [*stage.push(block), *stage.flush()]]
