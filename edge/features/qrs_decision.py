"""Candidates -> QRS complexes: adaptive thresholds, refractory time, T-wave test, search-back, replacement.

The rules are those of Pan and Tompkins 1985 and Hamilton and Tompkins 1986 (medians of the last eight peaks), in units
of this person's beats, with three of our own: the threshold lies midway, on a logarithmic scale, between beats and what
is no beat; a beat is taken back when a much larger maximum follows at once (a tall P wave before its QRS complex); and
the threshold sinks in a pause, so that a large artefact cannot blind the detector.

Nothing here depends on how the candidates were divided among the calls: what is decided about a moment, is decided when
all before it is known.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from edge.features.qrs_detection import Detection, Rejected
from edge.features.qrs_levels import LeadLevel, median_of
from edge.features.qrs_likeness import KnownComplexes
from edge.features.qrs_settings import DecisionSettings
from edge.features.qrs_signal import Candidates, QrsSignal

# Rejected candidates kept; a maximum every 0.18 s at most, so they reach back further than any search.
_N_REJECTED = 32


# The quietest third is never taken for less: what a lead adds to the fused energy is bounded in the same way.
_LEAST_FLOOR = 0.02
# A lead's beats are never taken for smaller, so that a dead lead can be compared too.
_LEAST_LEVEL_MV = 0.03
# Candidates from this share of the usual beat on are remembered, in case they come again.
_NOTICED = 0.4


class QrsDecision:
    """Turn candidates into detections.

    Parameters
    ----------
    settings : DecisionSettings
        The numbers of the rules.
    source : QrsSignal
        Where the candidates come from.
    n_leads : int
        Number of leads.
    """

    def __init__(self, settings: DecisionSettings, source: QrsSignal, n_leads: int) -> None:
        rate_hz = source.rate_hz
        self._settings = settings
        self._source = source
        self._rate_hz = rate_hz
        self._n_leads = n_leads
        self._n_refractory = round(settings.refractory_s * rate_hz)
        self._n_t_wave = round(settings.t_wave_s * rate_hz)
        self._n_replace = round(settings.replace_s * rate_hz)
        self._n_reach = round(settings.search_back_reach_s * rate_hz)
        self._n_learning = round(settings.learning_s * rate_hz)
        self._leads = [LeadLevel() for _ in range(n_leads)]
        self._levels: list[float] = []
        """Energy of the usual beat, by lead; none while learning."""
        self._learning: list[tuple[Candidates, int]] = []
        self._noise: deque[float] = deque([0.0] * 8, maxlen=8)
        self._noise_level = 0.0
        self._known = KnownComplexes()
        self._between: deque[float] = deque(maxlen=16)
        self._rejected: list[Rejected] = []
        self._rr: deque[int] = deque(maxlen=8)
        self._last: Detection | None = None
        self._is_pending = False
        self._deadline = 0
        self._is_searched = False

    def decide(self, candidates: Candidates | None) -> list[Detection]:
        """Return the beats that became certain, oldest first; `candidates` are the new ones of `source`."""
        out: list[Detection] = []
        if not self._levels:
            waiting = self._learning
            if candidates is not None:
                waiting += [(candidates, k) for k in range(len(candidates.at))]
            if self._learn():
                self._learning = []
                for each, k in waiting:
                    self._decide(each, k, out)
        elif candidates is not None:
            for k in range(len(candidates.at)):
                self._decide(candidates, k, out)
        if self._last is not None:
            self._search_back(self._source.confirmed, out)
            self._release(out)
        return out

    def flush(self) -> list[Detection]:
        """Return the beats that are held back at the end."""
        out: list[Detection] = []
        if not self._levels and self._learning:
            self._start()
            for each, k in self._learning:
                self._decide(each, k, out)
        if self._is_pending and self._last is not None:
            self._is_pending = False
            out.append(self._last)
        return out

    def clear_leads(self) -> list[int]:
        """Return the leads whose beats stand out well and are large enough to be counted, lowest first."""
        settings = self._settings
        return [
            k
            for k, lead in enumerate(self._leads)
            if lead.level > settings.floor_mv and lead.ratio() >= settings.clear_ratio
        ]

    # --- start ----------------------------------------------------------------------------------------------

    def _learn(self) -> bool:
        """Set the first levels once there is enough to learn from."""
        floor = self._settings.floor_mv
        n_small = 0
        while n_small < len(self._learning) and self._height(*self._learning[n_small]) < floor:
            n_small += 1
        del self._learning[:n_small]
        if not self._learning:
            return False
        each, k = self._learning[0]
        if self._source.confirmed < each.at[k] + self._n_learning:
            return False
        self._start()
        return True

    def _start(self) -> None:
        begin = self._learning[0][0].at[self._learning[0][1]]
        first = [each.heights[k] for each, k in self._learning if each.at[k] < begin + self._n_learning]
        self._levels = [max(_LEAST_LEVEL_MV, *(each[lead] for each in first)) for lead in range(self._n_leads)]
        for lead, level in zip(self._leads, self._levels, strict=True):
            lead.beats.append(level)
            lead.level = level

    # --- rules ----------------------------------------------------------------------------------------------

    def _decide(self, candidates: Candidates, k: int, out: list[Detection]) -> None:
        settings = self._settings
        at = candidates.at[k]
        if self._last is not None and at > self._deadline:
            self._search_back(at, out)  # before all else: it changes the levels
        last = self._last
        strength = self._strength(candidates.heights[k], candidates.weights[k])
        threshold = usual = self._usual_threshold(candidates, k, strength)
        is_lost = self._is_lost(candidates, k)
        if strength > _NOTICED or is_lost:
            self._known.notice(candidates.shapes[k], self._scales(candidates.weights[k]))
        is_late = False
        if last is not None and at > self._deadline:
            lowered = self._lowered(threshold, at, 1.0)
            is_late = not strength > lowered
            threshold = self._lowered(threshold, at, settings.search_back_ratio)
        is_strong = strength > threshold and self._height(candidates, k) > settings.floor_mv and not is_lost
        if is_strong and last is not None:
            since = at - last.at
            if since < self._n_replace and candidates.fused[k] > settings.replace_ratio * last.fused:
                self._replace(candidates, k)
                return
            if since < self._n_refractory:
                return
            if since < self._n_t_wave and self._is_t_wave(candidates, k, strength, last):
                is_strong = False
        if is_strong:
            self._accept(candidates, k, strength, out, is_late=is_late)
            return
        self._reject(strength)
        if not is_lost:
            self._remember(Rejected(candidates, k, at, strength, usual))

    def _remember(self, rejected: Rejected) -> None:
        """Keep what search-back may still make a beat of."""
        self._rejected.append(rejected)
        if len(self._rejected) > 2 * _N_REJECTED:  # a long pause: these cannot become beats any more
            del self._rejected[:_N_REJECTED]

    def _is_lost(self, candidates: Candidates, k: int) -> bool:
        """Return whether a small maximum is lost in what surrounds it: so is the noise of an electrode in an asystole.

        Beats of a fast tachycardia leave no rest between them either, but each is like the ones before.
        """
        if self._height(candidates, k) >= self._settings.small_mv:
            return False
        if candidates.fused[k] >= self._settings.stand_out_ratio * candidates.floors[k]:
            return False
        likeness = self._known.likeness(candidates.shapes[k], self._scales(candidates.weights[k]))
        return likeness <= self._settings.known_likeness

    def _is_t_wave(self, candidates: Candidates, k: int, strength: float, last: Detection) -> bool:
        settings = self._settings
        slope = self._strength(candidates.slopes[k], candidates.weights[k])
        if slope < settings.t_wave_slope_ratio * last.slope:
            return True
        ratio = settings.tall_t_wave_ratio
        return slope < ratio * last.slope and strength < ratio * last.strength

    def _strength(self, values: Sequence[float], weights: Sequence[float]) -> float:
        """Return `values` by lead in units of each lead's beats: their weighted geometric mean."""
        levels = self._levels
        if self._n_leads == 1:
            return values[0] / levels[0]
        total = 0.0
        for value, weight, level in zip(values, weights, levels, strict=True):
            log = math.log(max(value / level, 0.05))
            total += weight * (log if log < 0.0 else 0.25 * log)
        return math.exp(total)

    def _height(self, candidates: Candidates, k: int) -> float:
        """Return the largest energy of the leads that count for anything, in mV."""
        heights, weights = candidates.heights[k], candidates.weights[k]
        if self._n_leads == 1:
            return heights[0]
        least = 0.5 / self._n_leads**2
        return max(height for height, weight in zip(heights, weights, strict=True) if weight > least)

    def _usual_threshold(self, candidates: Candidates, k: int, strength: float) -> float:
        """Return the threshold for a candidate: midway, on a logarithmic scale, between noise and beats.

        Where it is quiet, that is all.  In noise, what comes early or looks like no known complex must be stronger, up
        to the strength of the usual beat.
        """
        settings = self._settings
        usual = sum(weight * level for weight, level in zip(candidates.weights[k], self._levels, strict=True))
        quiet, noisy = settings.noisy_floor
        floor = max(candidates.floors[k] / usual, _LEAST_FLOOR)
        least = max(
            settings.least_threshold, math.sqrt(min(max(self._noise_level, min(floor, quiet)), settings.largest_noise))
        )
        if strength < least or floor < quiet:
            return least
        likeness = self._known.likeness(candidates.shapes[k], self._scales(candidates.weights[k]))
        if likeness > settings.known_likeness:
            return least
        threshold = max(least, math.sqrt(min(floor, settings.largest_noise)))
        doubt = settings.likeness_weight * (1.0 - max(0.0, likeness))
        if self._last is not None and self._rr:
            early = (candidates.at[k] - self._last.at) / median_of(self._rr)
            doubt -= settings.early_weight * math.log(min(max(early, 0.2), 1.0))
        share = min(1.0, math.log(floor / quiet) / math.log(noisy / quiet))
        return max(threshold, min(1.0, threshold * math.exp(share * doubt)))

    def _scales(self, weights: Sequence[float]) -> list[float]:
        """Return what makes the curves of all leads comparable: their beats equal, their weights heeded."""
        return [math.sqrt(weight) / level for weight, level in zip(weights, self._levels, strict=True)]

    def _lowered(self, threshold: float, at: int, share: float) -> float:
        settings = self._settings
        pause_s = max(0.0, (at - self._deadline) / self._rate_hz)
        between = median_of(self._between) if self._between else 0.0
        # Waves between beats that are nearly as large as beats were noise: they say nothing of a pause in clean signal.
        between = settings.between_ratio * between if between * settings.clear_ratio < 1.0 else 0.0
        sinking = share * threshold * math.exp2(-pause_s / settings.decay_half_life_s)
        return max(sinking, min(threshold, between * math.exp2(-pause_s / settings.between_half_life_s)))

    # --- what follows from a decision -----------------------------------------------------------------------

    def _accept(self, candidates: Candidates, k: int, strength: float, out: list[Detection], *, is_late: bool) -> None:
        at, heights, weights = candidates.at[k], candidates.heights[k], candidates.weights[k]
        last = self._last
        if self._is_pending and last is not None:
            out.append(last)
        if last is not None:
            self._rr.append(min(at - last.at, round(3.0 * self._rate_hz)))
            self._measure_between(candidates, k, last.at)
        if strength < self._settings.search_back_ratio * self._settings.least_threshold:
            # Only the decay in a pause let it pass: the amplitude has dropped, and the old one is forgotten.
            for lead in self._leads:
                lead.beats.clear()
            self._noise.extend([0.0] * 8)
            self._noise_level = 0.0
            self._between.clear()
        for lead, height in zip(self._leads, heights, strict=True):
            lead.beats.append(height)
        self._known.learn(candidates.shapes[k], self._scales(weights))
        if is_late and strength in self._noise:  # it was taken for noise before it was searched back
            self._noise[self._noise.index(strength)] = 0.0
            self._noise_level = median_of(self._noise)
        self._measure_levels()
        self._last = Detection(
            at=at,
            fused=candidates.fused[k],
            strength=self._strength(heights, weights),
            slope=self._strength(candidates.slopes[k], weights),
            heights=heights,
            weights=weights,
            clear_leads=self.clear_leads() if self._n_leads > 1 else [0],
            is_late=is_late,
        )
        self._is_pending = True
        self._rejected = [each for each in self._rejected if each.at > at]
        self._set_deadline()

    def _replace(self, candidates: Candidates, k: int) -> None:
        """Take the held-back beat for a P wave, and this candidate for its QRS complex."""
        last = self._last
        assert last is not None
        at, heights, weights = candidates.at[k], candidates.heights[k], candidates.weights[k]
        self._reject(last.strength)
        if self._rr:
            self._rr[-1] += at - last.at
        for lead, height in zip(self._leads, heights, strict=True):
            lead.beats[-1] = height
        self._measure_levels()
        last.at, last.fused, last.heights, last.weights = at, candidates.fused[k], heights, weights
        last.strength = self._strength(heights, weights)
        last.slope = self._strength(candidates.slopes[k], weights)
        self._rejected = [each for each in self._rejected if each.at > at]
        self._set_deadline()

    def _reject(self, strength: float) -> None:
        self._noise.append(strength)
        self._noise_level = median_of(self._noise)

    def _measure_levels(self) -> None:
        for lead in self._leads:
            lead.level = max(median_of(lead.beats), _LEAST_LEVEL_MV)
        self._levels = [lead.level for lead in self._leads]

    def _measure_between(self, candidates: Candidates, k: int, last_at: int) -> None:
        """Note the largest energy between the last beat and this one, by lead and fused."""
        at = candidates.at[k]
        largest = list(candidates.before[k]) if at - last_at > 2 * self._n_refractory else [0.0] * self._n_leads
        strength = self._strength(largest, candidates.weights[k])
        for each in self._rejected:
            if last_at < each.at < at:
                strength = max(strength, each.strength)
                for lead, height in enumerate(each.candidates.heights[each.k]):
                    largest[lead] = max(largest[lead], height)
        self._between.append(strength)
        for level, value in zip(self._leads, largest, strict=True):
            level.between.append(value)

    # --- search-back ----------------------------------------------------------------------------------------

    def _search_back(self, now: int, out: list[Detection]) -> None:
        """Where a beat is overdue at `now`, take the strongest candidate before it was due."""
        while self._last is not None and now > self._deadline and not self._is_searched:
            found = self._strongest_rejected(self._last.at + self._n_replace)
            if found is None:
                self._is_searched = True
                self._rejected = self._rejected[-_N_REJECTED:]
                return
            self._accept(found.candidates, found.k, found.strength, out, is_late=True)

    def _strongest_rejected(self, first: int) -> Rejected | None:
        settings = self._settings
        deadline = self._deadline
        first = max(first, deadline - self._n_reach)
        best: Rejected | None = None
        for each in self._rejected:
            if not first < each.at <= deadline or (best is not None and each.strength <= best.strength):
                continue
            threshold = self._lowered(each.threshold, each.at, settings.search_back_ratio)
            if each.strength > threshold and self._height(each.candidates, each.k) > settings.floor_mv:
                best = each
        return best

    def _set_deadline(self) -> None:
        assert self._last is not None
        usual = median_of(self._rr) if self._rr else self._rate_hz
        self._is_searched = False
        self._deadline = self._last.at + int(self._settings.search_back_rr * usual)

    def _release(self, out: list[Detection]) -> None:
        """Give out the held-back beat as soon as nothing can replace it."""
        last = self._last
        if not self._is_pending or last is None:
            return
        until = last.at + self._n_replace
        if self._source.confirmed < until:
            if self._source.end < until:
                return
            if self._source.largest(last.at + 1, until) > self._settings.replace_ratio * last.fused:
                return
        self._is_pending = False
        out.append(last)
