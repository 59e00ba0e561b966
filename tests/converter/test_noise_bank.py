"""Noise to train with: recorded or synthetic, in the band of the windows."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from converter.augment import AugmentSettings
from converter.noise_bank import noise_bank
from edge.errors import EdgeError

RATE_HZ = 125.0
DATA = Path(os.environ.get("VITALEDGE_DATA", "../shared/data"))
recorded = pytest.mark.skipif(not (DATA / "nstdb" / "ma.hea").is_file(), reason="needs nstdb below VITALEDGE_DATA")


def test_there_is_no_bank_where_no_noise_is_wanted(tmp_path):
    assert noise_bank(AugmentSettings(noise_source="recorded"), tmp_path, RATE_HZ) == {}


def test_synthetic_noise_needs_no_recording(tmp_path):
    bank = noise_bank(AugmentSettings(noise_ratio=0.5, noise_kinds=("ma", "white")), tmp_path, RATE_HZ)

    assert set(bank) == {"ma", "white"}
    assert all(np.isfinite(noise).all() and len(noise) > 600 * RATE_HZ for noise in bank.values())


def test_missing_recordings_are_named_with_the_remedies(tmp_path):
    with pytest.raises(EdgeError, match="holds no nstdb/ma") as caught:
        noise_bank(AugmentSettings(noise_ratio=0.5, noise_source="recorded", noise_kinds=("ma",)), tmp_path, RATE_HZ)

    assert "augment.noise_source=synthetic" in caught.value.hint


@recorded
def test_recorded_noise_is_in_the_band_of_the_windows():
    """Below 0.25 Hz lies 91 % of the power of `bw` as recorded, 20 % after the runtime's filters, as in the windows."""
    pytest.importorskip("wfdb", reason="needs the records extra")
    settings = AugmentSettings(noise_ratio=0.5, noise_source="recorded", noise_kinds=("bw", "ma"))

    bank = noise_bank(settings, DATA, RATE_HZ)

    for noise in bank.values():
        assert np.isfinite(noise).all()
        assert len(noise) == pytest.approx(2 * 1800 * RATE_HZ, rel=0.01)  # both leads, one after the other
        frequency_hz, power = signal.welch(noise, RATE_HZ, nperseg=4096)
        assert power[frequency_hz < 0.25].sum() < 0.25 * power.sum()
        assert power[frequency_hz > 45].sum() < 0.05 * power.sum()
    assert np.std(bank["ma"]) > 0.02
