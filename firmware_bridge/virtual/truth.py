"""What the virtual patient knows of itself: the truth against which detectors are judged.

All instants are seconds of the story.  Every part is sorted by time.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.messages import BeatKind
from firmware_bridge.virtual.scenario import Activity, Event, Posture
from firmware_bridge.virtual.waves import Morphology, WaveTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueBeat:
    """A beat that really happened."""

    at_s: float
    """Instant of the R peak."""
    kind: BeatKind
    pulse_ratio: float
    """Strength of its pulse, 1 for a well filled sinus beat."""
    rr_s: float | None
    """Interval to the beat before; None for the first beat of the story."""
    morphology: Morphology
    is_premature: bool
    """It came before the sinus beat that was due, alone or in a run."""
    is_after_compensatory_pause: bool
    """It ends the full pause after a single premature ventricular beat."""
    height_mv: tuple[float, float]
    """The tallest single wave of the QRS complex in leads II and V1, with its sign."""
    waves: WaveTimes
    """Where its waves begin, peak and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePulse:
    """The wave of blood that a beat sends to the finger."""

    beat_at_s: float
    """R peak of the beat."""
    onset_s: float
    """The light begins to change: 2 % of the rise."""
    foot_s: float
    """Where the tangent at the steepest rise meets the baseline, as a pulse transit time is usually measured."""
    peak_s: float
    """Peak of the systolic wave; the dicrotic one moves the top of the light up to 9 ms later."""
    dicrotic_s: float
    """Peak of the dicrotic wave."""
    perfusion_pct: float
    """Height of this wave relative to the steady infrared light."""
    spo2_pct: float
    """Saturation of its blood."""

    @property
    def transit_s(self) -> float:
        """From the R peak to the foot."""
        return self.foot_s - self.beat_at_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueBreath:
    """One breath."""

    at_s: float
    """Beginning of inspiration."""
    peak_s: float
    """End of inspiration."""
    depth_ratio: float
    """Swing from beginning to peak, relative to a usual breath."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueApnoea:
    """At least ten seconds in which no breath begins because the patient does not breathe."""

    start_s: float
    """Beginning of the last breath before, or of the story."""
    end_s: float
    """Beginning of the first breath after, or end of what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueMotion:
    """A stretch of one posture and one activity; both take about a second to come and go."""

    start_s: float
    end_s: float
    posture: Posture
    activity: Activity
    step_rate_hz: float | None
    """Steps a second; None unless walking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueEvent:
    """A fall, a jump or a hard landing on a chair."""

    event: Event
    start_s: float
    """Support is lost."""
    impact_s: float
    """The hardest moment."""
    end_s: float
    """The ringing is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RhythmSpan:
    """A stretch of one rhythm."""

    start_s: float
    end_s: float
    label: str
    """WFDB name, such as ``N``, ``AFIB``, ``VT``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What really happened in a stretch of time."""

    beats: tuple[TrueBeat, ...]
    rhythms: tuple[RhythmSpan, ...]
    pulses: tuple[TruePulse, ...]
    """With their foot in the stretch."""
    breaths: tuple[TrueBreath, ...]
    """Of a tenth of the usual depth at least."""
    apnoeas: tuple[TrueApnoea, ...]
    """Also those that reach into the stretch."""
    motions: tuple[TrueMotion, ...]
    events: tuple[TrueEvent, ...]
    """With their beginning in the stretch."""
