"""Ventricular fibrillation or flutter, by its waveform: it has no beats that the other rules could count.

Fed with `features.ecg_waves` (`Waves`).  Measured on 24 records of MIT-BIH (12 h, both leads), alone and with muscle
noise, baseline wander and synthetic electrode motion at 0 dB, on 20 records of BIDMC (2.6 h) and 710 hand-held ones
(3.5 h): the rule fires in the flutter of record 207 and once elsewhere, in the second lead of 209.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.features.ecg_waves import LeadWaves, Waves
from edge.messages import Condition, Priority
from edge.monitoring.claims import Claim

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FibrillationSettings:
    """When a waveform is fibrillation."""

    leakage: float = 0.406
    """Leakage below this is fibrillation or flutter (Kuo and Dillman 1978, restated in
    doi:10.1186/1475-925X-4-60)."""
    least_mv: float = 0.1
    """A smaller waveform may be the amplifier's noise; without beats it is alarmed as asystole (own choice)."""
    on_s: int = 3
    """Seconds in a row that show it: each looks 4 s back, so that the alarm comes some 6 s after the onset."""
    off_s: int = 10
    """Seconds in a row that do not show it and that end it (own choice)."""


class FibrillationRule:
    """Whether the ventricles fibrillate or flutter.  Unusable seconds neither begin nor end anything."""

    def __init__(self, settings: FibrillationSettings) -> None:
        self._settings = settings
        self._claim = Claim("ventricular-fibrillation", Priority.HIGH, is_latching=True)
        self._n_on = 0
        self._n_off = 0
        self._window_ns = 0
        self._onset: Waves | None = None

    @property
    def onset(self) -> Waves | None:
        """The first second that showed what is there now; None while it is not."""
        return self._onset if self._claim.is_active else None

    def second(self, waves: Waves, lead: LeadWaves, *, is_known: bool) -> list[Condition]:
        """Return what one usable second began or ended.

        Parameters
        ----------
        waves : Waves
            The second.
        lead : LeadWaves
            The lead that can be trusted most.
        is_known : bool
            Whether a ventricular tachycardia is alarmed already: one emergency, one alarm.
        """
        if lead.leakage is None:
            self._n_on = self._n_off = 0
            return []
        if lead.leakage >= self._settings.leakage or lead.size_mv < self._settings.least_mv:
            self._n_on = 0
            self._n_off += 1
            if self._n_off < self._settings.off_s:
                return []
            return self._claim.end(waves.at_ns, f"No fibrillation waves for {self._settings.off_s} s.")
        self._n_off = 0
        self._n_on += 1
        if self._n_on == 1 and not self._claim.is_active:
            self._onset = waves
        if self._n_on < self._settings.on_s or is_known or self._onset is None:
            return []
        return self._claim.begin(
            waves.at_ns,
            self._onset.at_ns,
            "Ventricular fibrillation or flutter suspected: waves without beats.",
            rule="fibrillation filter (Kuo and Dillman 1978)",
            lead=lead.name,
            leakage=round(lead.leakage, 3),
            limit=self._settings.leakage,
            size_mv=round(lead.size_mv, 2),
        )
