"""The noise that windows are trained with, at their rate and in their band: recorded (nstdb) or synthetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.augment import WHITE, AugmentSettings, synthetic_noise
from edge.acquisition.wfdb_file import open_record
from edge.conditioning.filters import FilterChain
from edge.conditioning.resample import Resampler, ResampleSettings
from edge.errors import EdgeError
from edge.messages import SampleBlock

_FOLDER = "nstdb"
_SEED = 1
# The filters and the resampler need a while; what they give before is no noise.
_SETTLING_S = 5.0


def noise_bank(settings: AugmentSettings, data: Path, rate_hz: float) -> dict[str, NDArray[np.float64]]:
    """Return noise of each kind that `settings` ask for; nothing where they ask for none.

    Recorded noise runs through the runtime's own filters and resampler, because the windows did.  Its two leads are put
    one after the other.

    Parameters
    ----------
    settings : AugmentSettings
        Kinds and source.
    data : Path
        Folder that holds ``nstdb``, or a folder beside it.
    rate_hz : float
        Rate of the windows.

    Raises
    ------
    EdgeError
        If recorded noise is asked for and is not there.
    """
    if not settings.noise_ratio:
        return {}
    synthetic = synthetic_noise(rate_hz, seed=_SEED)
    if settings.noise_source == "synthetic":
        return {kind: synthetic[kind] for kind in settings.noise_kinds}
    return {
        kind: synthetic[kind] if kind == WHITE else _recorded(_folder(data, kind) / kind, rate_hz)
        for kind in settings.noise_kinds
    }


def _folder(data: Path, kind: str) -> Path:
    for folder in (data / _FOLDER, data.parent / _FOLDER, data):
        if (folder / f"{kind}.hea").is_file():
            return folder
    raise EdgeError(
        f"{data}: holds no {_FOLDER}/{kind}",
        hint="unpack PhysioNet's nstdb there, leave the kind out of augment.noise_kinds, "
        "or set augment.noise_source=synthetic",
    )


def _recorded(record: Path, rate_hz: float) -> NDArray[np.float64]:
    filters, resampler = FilterChain(), Resampler(ResampleSettings(rate_hz=rate_hz))
    parts = [
        resampled.values
        for item in open_record(record).blocks(10_000)
        if isinstance(item, SampleBlock)
        for clean in filters.push(item)
        for resampled in resampler.push(clean)
    ]
    settled = np.concatenate(parts)[round(_SETTLING_S * rate_hz) :]
    return np.concatenate([settled[:, lead][np.isfinite(settled[:, lead])] for lead in range(settled.shape[1])])
