"""Other people's QRS detectors behind one signature, each used as its own documentation says.

A peer takes one lead in mV and its sampling rate, and returns the samples of the R peaks.  None of them is needed: one
that is not installed is named as such.  ``requirements/peers.txt`` pins the versions that were measured.

Where a package has several detectors, its default is here and the one that did best on five records of the
MIT-BIH Arrhythmia Database (108, 119, 203, 207, 208; first lead, F1 of all beats together): of twelve in NeuroKit2
*khamis2016* (99.4 %) and, fifteen times faster, *manikandan2012* (99.0 %) before *emrich2023* (95.9 %); of seven in
py-ecg-detectors the matched filter (98.3 %) before two averages (92.7 %); of four in BioSPPy *Pan-Tompkins++* (98.3 %)
before *hamilton* (96.8 %).  That choice favours the peers: it was made on the records they are then measured on.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from machine import installed_version
from numpy.typing import NDArray

Lead = NDArray[np.float64]
Detector = Callable[[Lead, float], Any]
"""One lead in mV and its rate in Hz -> samples of the R peaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A detector of another package."""

    name: str
    package: str
    """Name of the distribution, as pip knows it."""
    detector: Detector

    @property
    def version(self) -> str | None:
        """Installed version; None where the package is missing."""
        return installed_version(self.package)

    def warm_up(self) -> None:
        """Import and compile what the first call does, so that no record pays for it."""
        time_s = np.arange(20 * 250) / 250.0
        spikes_mv = np.exp(-((((time_s % 0.8) - 0.4) / 0.012) ** 2)) + 0.05 * np.sin(2 * np.pi * time_s)
        with contextlib.suppress(Exception):  # a detector that cannot do this will fail on the records, and say so
            self.detect(spikes_mv, 250.0)

    def detect(self, lead_mv: Lead, rate_hz: float) -> NDArray[np.int64]:
        """Return the samples of the R peaks, in order; whatever the package prints or warns of is swallowed."""
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return np.sort(np.asarray(self.detector(lead_mv, rate_hz)).astype(np.int64))


def _xqrs(lead: Lead, rate_hz: float) -> Any:
    from wfdb import processing

    detector = processing.XQRS(sig=lead, fs=rate_hz)
    detector.detect(verbose=False)
    return detector.qrs_inds


def _neurokit(method: str, cleaning: str | None) -> Detector:
    def detect(lead: Lead, rate_hz: float) -> Any:
        import neurokit2

        rate = round(rate_hz)
        clean = neurokit2.ecg_clean(lead, sampling_rate=rate, method=cleaning) if cleaning else lead
        return neurokit2.ecg_peaks(clean, sampling_rate=rate, method=method)[1]["ECG_R_Peaks"]

    return detect


def _ecgdetectors(method: str) -> Detector:
    def detect(lead: Lead, rate_hz: float) -> Any:
        from ecgdetectors import Detectors

        return getattr(Detectors(round(rate_hz)), f"{method}_detector")(lead)

    return detect


def _biosppy(segmenter: str) -> Detector:
    """Return the steps of ``biosppy.signals.ecg.ecg`` up to the R peaks; the rest of it cuts out and averages beats."""

    def detect(lead: Lead, rate_hz: float) -> Any:
        from biosppy.signals import ecg, tools

        filtered = tools.filter_signal(
            signal=lead,
            ftype="FIR",
            band="bandpass",
            order=int(1.5 * rate_hz),
            frequency=[0.67, 45],
            sampling_rate=rate_hz,
        )["signal"]
        filtered = filtered - np.mean(filtered)
        peaks = getattr(ecg, f"{segmenter}_segmenter")(signal=filtered, sampling_rate=rate_hz)["rpeaks"]
        return ecg.correct_rpeaks(signal=filtered, rpeaks=peaks, sampling_rate=rate_hz, tol=0.05)["rpeaks"]

    return detect


def _sleepecg(lead: Lead, rate_hz: float) -> Any:
    import sleepecg

    return sleepecg.detect_heartbeats(lead, rate_hz)


def _visibility_graph(lead: Lead, rate_hz: float) -> Any:
    from vg_beat_detectors import FastNVG

    return FastNVG(sampling_frequency=round(rate_hz)).find_peaks(lead)


PEERS = (
    Peer(name="WFDB XQRS", package="wfdb", detector=_xqrs),
    Peer(name="NeuroKit2 (default)", package="neurokit2", detector=_neurokit("neurokit", "neurokit")),
    Peer(name="NeuroKit2 khamis2016", package="neurokit2", detector=_neurokit("khamis2016", None)),
    Peer(name="NeuroKit2 manikandan2012", package="neurokit2", detector=_neurokit("manikandan2012", None)),
    Peer(name="py-ecg-detectors matched filter", package="py-ecg-detectors", detector=_ecgdetectors("matched_filter")),
    Peer(name="py-ecg-detectors two averages", package="py-ecg-detectors", detector=_ecgdetectors("two_average")),
    Peer(name="BioSPPy hamilton (default)", package="biosppy", detector=_biosppy("hamilton")),
    Peer(name="BioSPPy Pan-Tompkins++", package="biosppy", detector=_biosppy("Pan_Tompkins_Plus_Plus")),
    Peer(name="SleepECG (C)", package="sleepecg", detector=_sleepecg),
    Peer(name="vg-beat-detectors FastNVG", package="vg-beat-detectors", detector=_visibility_graph),
)
