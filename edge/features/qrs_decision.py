"""Candidates of all leads -> QRS complexes: adaptive thresholds, refractory time, T-wave test, search-back, lead choice.

The rules are those of Pan and Tompkins 1985 and Hamilton and Tompkins 1986 (medians of the last eight peaks), with
two of our own: a beat is taken back when a much larger maximum follows at once (a tall P wave before its QRS), and
the threshold sinks in a pause, so that a large artefact cannot blind the detector.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from statistics import median

from edge.features.qrs_candidates import Candidate, QrsCandidates


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """The numbers of the decision rules; all are round and none belongs to a database."""

    floor_mv: float = 0.15
    """Smallest detection signal taken for a QRS complex: monitors must not count below 0.15 mV (IEC 60601-2-27)."""
    threshold_ratio: float = 0.3
    """Threshold between the noise level (0) and the signal level (1); 0.25-0.31 in the two papers."""
    refractory_s: float = 0.18
    """Two QRS complexes are never closer: 0.2 s in Pan and Tompkins, a little less to count up to 300 bpm."""
    t_wave_s: float = 0.36
    """Within this time after a beat a maximum must pass the slope test (Pan and Tompkins)."""
    t_wave_slope_ratio: float = 0.5
    """A T wave's slope is below this share of the slope of the beat before it (Pan and Tompkins)."""
    tall_t_wave_ratio: float = 0.65
    """So is a maximum whose slope and height are both below this share: a T wave of 1.2 mV and 180 ms behind a QRS
    complex of 1 mV and 100 ms (IEC 60601-2-27) has 0.59 of its slope and 0.52 of its height."""
    replace_s: float = 0.3
    """A beat is held back this long, because a larger maximum may show that it was a P wave."""
    replace_ratio: float = 1.3
    """How much larger that maximum must be (own choice)."""
    search_back_rr: float = 1.66
    """Look back once this many RR medians passed without a beat (Pan and Tompkins)."""
    search_back_ratio: float = 0.5
    """Share of the threshold that is enough then (Pan and Tompkins, in amplitude)."""
    search_back_reach_s: float = 4.0
    """A missed beat is not looked for further back: at 20 bpm a beat at any place of a missed interval lies at most
    3.5 s before the search, and the samples of older ones are no longer kept."""
    decay_half_life_s: float = 0.5
    """In a pause longer than ``search_back_rr`` medians the signal level halves each half second: a tenfold drop of
    the amplitude is followed within 3 s."""
    between_ratio: float = 1.2
    """In a pause the threshold stays this far above the usual maximum between two beats, so that P waves without a
    QRS complex are not counted (own choice)."""
    between_half_life_s: float = 20.0
    """How fast that bound sinks, in case the amplitude itself has dropped: P waves stay uncounted for 6 s, longer
    than an asystole takes to be alarmed (own choice)."""
    clear_ratio: float = 3.0
    """Beats are described in a lead where they are this much larger than all that lies between them (own choice)."""
    onset_s: float = 0.14
    """The detection signal of a complex of 100 ms begins to rise this long before its maximum; a P wave lies before."""
    learning_s: float = 1.5
    """Signal levels start from the largest maximum in this time after the first one above the floor (own choice)."""
    relearning_s: float = 2.0
    """A lead taken over because the other one became unusable starts from its largest maximum in this time: one beat
    at least at 30 bpm."""
    lead_ratio: float = 1.5
    """Another lead is taken when its ratio of beats to what lies between them is this much better (own choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One QRS complex."""

    candidate: Candidate
    is_late: bool


class _Level:
    """What one lead's maxima have been like."""

    def __init__(self) -> None:
        self.beats: deque[float] = deque(maxlen=8)
        self.rejected: deque[float] = deque(maxlen=8)
        self.between: deque[float] = deque(maxlen=16)
        """Largest value between two beats, P and T waves included."""

    def ratio(self) -> float:
        """How far beats stand out; 0 while unknown."""
        if len(self.beats) < 8 or len(self.between) < 8:
            return 0.0
        return sorted(self.beats)[2] / max(sorted(self.between)[-3], 1e-3)


class QrsDecision:
    """Turn candidates into detections.

    Parameters
    ----------
    settings : DecisionSettings
        The numbers of the rules.
    rate_hz : float
        Sampling rate.
    source : QrsCandidates
        Where the candidates come from; asked for the detection signal of the other leads.
    n_leads : int
        Number of leads.
    """

    def __init__(self, settings: DecisionSettings, rate_hz: float, source: QrsCandidates, n_leads: int) -> None:
        self._settings = settings
        self._rate_hz = rate_hz
        self._source = source
        self._levels = [_Level() for _ in range(n_leads)]
        self._lead: int | None = None
        self._trusted: frozenset[int] = frozenset(range(n_leads))
        self._learning: list[Candidate] = []
        self._rejected: list[Candidate] = []
        self._last: Candidate | None = None
        self._pending: Detection | None = None
        self._rr_samples: deque[int] = deque(maxlen=8)

    def decide(self, candidates: list[Candidate]) -> list[Detection]:
        """Return the beats that became certain, oldest first; call it once per block, with or without candidates."""
        if self._lead is None:
            self._learning += candidates
            if not self._learn():
                return []
            candidates, self._learning = self._learning, []
        out: list[Detection] = []
        for candidate in candidates:
            out += self._search_back(candidate.sequence)
            if candidate.lead == self._lead:
                out += self._decide(candidate)
            else:
                self._rejected.append(candidate)
        out += self._search_back(self._source.confirmed)
        out += self._release()
        return out

    def flush(self) -> list[Detection]:
        """Return the beat that is held back."""
        pending, self._pending = self._pending, None
        return [pending] if pending is not None else []

    def trust(self, leads: Collection[int]) -> None:
        """Take beats from these leads alone; from all where none is named or none of them shows beats that count."""
        every = frozenset(range(len(self._levels)))
        self._trusted = frozenset(leads) or every
        if self._lead is None or self._lead in self._trusted:
            return
        # What was measured in a lead at the instants of false beats is no level: take its largest recent maximum.
        end = self._source.confirmed
        first = end - self._samples(self._settings.relearning_s)
        largest = {lead: self._source.largest_height(lead, first, end) for lead in sorted(self._trusted)}
        best = max(largest, key=lambda lead: largest[lead])
        if largest[best] <= 2 * self._settings.floor_mv:
            self._trusted = every
            return
        self._lead = best
        self._levels[best] = _Level()
        self._levels[best].beats.append(largest[best])

    def clear_leads(self) -> list[int]:
        """Return the leads whose beats stand out well, lowest column first; none while that is unknown."""
        ratio = self._settings.clear_ratio
        return [lead for lead in sorted(self._trusted) if self._levels[lead].ratio() >= ratio]

    # --- start ----------------------------------------------------------------------------------------------

    def _learn(self) -> bool:
        """Set the first levels once there is enough to learn from."""
        floor = self._settings.floor_mv
        strong = [candidate for candidate in self._learning if candidate.height > floor]
        horizon = self._source.confirmed - self._samples(self._settings.learning_s)
        if not strong:
            self._learning = []
            return False
        if strong[0].sequence > horizon:
            return False
        best_ratio = -1.0
        for lead, level in enumerate(self._levels):
            heights = sorted(candidate.height for candidate in self._learning if candidate.lead == lead)
            if not heights:
                continue
            level.beats.append(heights[-1])
            usual = self._source.heights.rows(strong[0].sequence, self._source.confirmed)[:, lead]
            ratio = heights[-1] / max(float(usual.mean()), 1e-3) if heights[-1] > floor else 0.0
            if ratio > best_ratio:
                best_ratio = ratio
                self._lead = lead
        return True

    # --- rules ----------------------------------------------------------------------------------------------

    def _decide(self, candidate: Candidate) -> list[Detection]:
        settings = self._settings
        last = self._last
        is_strong = candidate.height > self._threshold(candidate.lead, candidate.sequence)
        if last is not None and is_strong:
            since_s = (candidate.sequence - last.sequence) / self._rate_hz
            is_larger = candidate.height > settings.replace_ratio * last.height
            if is_larger and since_s < settings.replace_s and self._pending is not None:
                return self._replace(candidate)
            if since_s < settings.refractory_s:
                return []
            if since_s < settings.t_wave_s and self._is_t_wave(candidate, last):
                return []
        if is_strong:
            return self._accept(candidate, is_late=False)
        self._levels[candidate.lead].rejected.append(candidate.height)
        self._rejected.append(candidate)
        return []

    def _is_t_wave(self, candidate: Candidate, last: Candidate) -> bool:
        settings = self._settings
        if candidate.slope < settings.t_wave_slope_ratio * last.slope:
            return True
        ratio = settings.tall_t_wave_ratio
        return candidate.slope < ratio * last.slope and candidate.height < ratio * last.height

    def _threshold(self, lead: int, sequence: int, share: float = 1.0) -> float:
        settings = self._settings
        level = self._levels[lead]
        usual = self._usual_threshold(level)
        pause_s = self._pause_s(sequence)
        between = settings.between_ratio * median(level.between) if level.between else 0.0
        return max(
            settings.floor_mv,
            share * usual * _halved(pause_s, settings.decay_half_life_s),
            min(usual, between * _halved(pause_s, settings.between_half_life_s)),
        )

    def _usual_threshold(self, level: _Level) -> float:
        beat: float = median(level.beats)
        noise = min(median(level.rejected), beat) if level.rejected else 0.0
        return float(noise + self._settings.threshold_ratio * (beat - noise))

    def _pause_s(self, sequence: int) -> float:
        """How far the time since the last beat exceeds the search-back time."""
        if self._last is None:
            return 0.0
        return max(0.0, (sequence - self._last.sequence - self._search_back_samples()) / self._rate_hz)

    def _accept(self, candidate: Candidate, *, is_late: bool) -> list[Detection]:
        out = self.flush()
        last = self._last
        self._follow_drop(candidate)
        if last is not None:
            self._rr_samples.append(min(candidate.sequence - last.sequence, self._samples(3.0)))
        self._measure_leads(candidate, last)
        self._last = candidate
        self._rejected = [other for other in self._rejected if other.sequence > candidate.sequence]
        self._pending = Detection(candidate=candidate, is_late=is_late)
        self._choose_lead()
        return out

    def _follow_drop(self, candidate: Candidate) -> None:
        """Forget the old amplitude when only its decay let `candidate` pass."""
        level = self._levels[candidate.lead]
        usual = self._settings.search_back_ratio * self._usual_threshold(level)
        if candidate.height >= usual:
            return
        ratio = candidate.height / median(level.beats)
        level.beats.clear()
        level.between = deque((ratio * value for value in level.between), maxlen=level.between.maxlen)
        level.rejected = deque((ratio * value for value in level.rejected), maxlen=level.rejected.maxlen)

    def _replace(self, candidate: Candidate) -> list[Detection]:
        """Take the held-back beat for a P wave, and `candidate` for its QRS complex."""
        assert self._last is not None
        assert self._pending is not None
        level = self._levels[candidate.lead]
        level.rejected.append(self._last.height)
        level.beats[-1] = candidate.height
        if self._rr_samples:
            self._rr_samples[-1] += candidate.sequence - self._last.sequence
        self._last = candidate
        self._pending = replace(self._pending, candidate=candidate)
        return []

    def _search_back(self, now: int) -> list[Detection]:
        out: list[Detection] = []
        while self._last is not None and now - self._last.sequence > self._search_back_samples():
            found = self._best_rejected(self._last.sequence + self._samples(self._settings.replace_s), now)
            if found is None:
                break
            out += self._accept(found, is_late=True)
        return out

    def _best_rejected(self, first: int, now: int) -> Candidate | None:
        best: Candidate | None = None
        best_share = 0.0
        oldest = now - self._samples(self._settings.search_back_reach_s)
        self._rejected = [candidate for candidate in self._rejected if candidate.sequence >= oldest]
        for candidate in self._rejected:
            if candidate.lead not in self._trusted or not self._levels[candidate.lead].beats:
                continue
            if not first < candidate.sequence < now:
                continue
            needed_share = self._settings.search_back_ratio if candidate.lead == self._lead else 1.0
            needed = self._threshold(candidate.lead, candidate.sequence, needed_share)
            share = candidate.height / max(self._settings.floor_mv, median(self._levels[candidate.lead].beats))
            if candidate.height > needed and share > best_share:
                best, best_share = candidate, share
        return best

    def _release(self) -> list[Detection]:
        """Return the held-back beat as soon as nothing can replace it."""
        if self._pending is None:
            return []
        candidate = self._pending.candidate
        until = candidate.sequence + self._samples(self._settings.replace_s)
        if self._source.confirmed >= until:
            return self.flush()
        if self._source.heights.end < until:
            return []
        rival = self._source.largest_height(candidate.lead, candidate.sequence, until)
        return self.flush() if rival <= self._settings.replace_ratio * candidate.height else []

    # --- leads ----------------------------------------------------------------------------------------------

    def _measure_leads(self, candidate: Candidate, last: Candidate | None) -> None:
        around, refractory = self._samples(0.15), self._samples(self._settings.refractory_s)
        onset = self._samples(self._settings.onset_s)  # a P wave lies before this, the rise of the complex after it
        for lead, level in enumerate(self._levels):
            is_selected = lead == candidate.lead
            sequence = candidate.sequence
            peak = self._source.largest_height(lead, sequence - around, sequence + around + 1)
            level.beats.append(candidate.height if is_selected else peak)
            if last is None or sequence - last.sequence <= 2 * refractory:
                continue
            between = self._source.largest_height(lead, last.sequence + refractory, sequence - onset)
            level.between.append(between)
            if not is_selected:
                level.rejected.append(between)

    def _choose_lead(self) -> None:
        assert self._last is not None
        if self._last.lead in self._trusted:
            self._lead = self._last.lead
        assert self._lead is not None
        ratio = self._settings.lead_ratio * self._levels[self._lead].ratio()
        for lead in sorted(self._trusted):
            level = self._levels[lead]
            if level.ratio() > ratio and median(level.beats) > 2 * self._settings.floor_mv:
                self._lead, ratio = lead, level.ratio()

    # --- time -----------------------------------------------------------------------------------------------

    def _search_back_samples(self) -> int:
        usual = median(self._rr_samples) if self._rr_samples else self._samples(1.0)
        return int(self._settings.search_back_rr * usual)

    def _samples(self, duration_s: float) -> int:
        return round(duration_s * self._rate_hz)


def _halved(elapsed_s: float, half_life_s: float) -> float:
    """Return what is left of 1 after `elapsed_s`."""
    return float(0.5 ** (elapsed_s / half_life_s))
