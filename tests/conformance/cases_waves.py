"""The description of the waveform before the three laws."""

from __future__ import annotations

from edge.features.ecg_waves import EcgWaves
from tests.conformance.case import StageCase
from tests.conformance.cases_signal import ecg_stream, hostile_stream

CASES = [StageCase(name="EcgWaves", make=EcgWaves, stream=ecg_stream, hostile=hostile_stream)]
