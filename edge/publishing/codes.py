"""What the measures are called in the nomenclatures of the trade.

MDC (ISO/IEEE 11073-10101) is the key; several MDC terms map to one LOINC code, so LOINC is an annotation.

References
----------
.. [1] ISO/IEEE 11073-10101:2020, term codes with their partition (partition x 65536 + term).
.. [2] LOINC 2.77; HL7 FHIR R4 vital-signs profiles (2708-6 is required there for SpO2).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One quantity in MDC and LOINC; either may not have it."""

    mdc: int | None = None
    """MDC code with its partition."""
    loinc: str | None = None


_HEART_RATE = Code(mdc=147842, loinc="8867-4")
_PULSE_RATE = Code(mdc=149530, loinc="8867-4")
_RESPIRATION = Code(mdc=151562, loinc="9279-1")

CODES = MappingProxyType(
    {
        "heart-rate": _HEART_RATE,
        "pulse-rate": _PULSE_RATE,
        "spo2": Code(mdc=150456, loinc="2708-6"),
        "perfusion-index": Code(mdc=150448),
        "respiration-rate": _RESPIRATION,
        "respiratory-rate": _RESPIRATION,
        "body-temperature": Code(mdc=150364, loinc="8310-5"),
        "blood-pressure": Code(mdc=150020, loinc="85354-9"),
        "blood-pressure-systolic": Code(mdc=150021, loinc="8480-6"),
        "blood-pressure-diastolic": Code(mdc=150022, loinc="8462-4"),
        "blood-pressure-mean": Code(mdc=150023, loinc="8478-0"),
        "rr-interval": Code(mdc=147240),
        "sdnn": Code(loinc="80404-7"),
        "pulse-transit": Code(),
        "pr": Code(loinc="8625-6"),
        "qrs": Code(loinc="8633-0"),
        "qt": Code(loinc="8634-8"),
        "qtc": Code(mdc=146964, loinc="76634-5"),  # Fridericia; MDC 2:15892 (DICOM CID 3227)
        # LOINC has no code for RMSSD; 80404-7 is SDNN and often misused for it.
        "rmssd": Code(),
    }
)
"""Codes by topic segment of the measure."""


def code_of(segment: str) -> Code:
    """Return the codes of a measure's topic segment; empty for one that has none."""
    return CODES.get(segment, Code())
