"""The numbers of the QRS decision rules, each with its source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """The numbers of the decision rules; all are round and none belongs to a database."""

    floor_mv: float = 0.15
    """Smallest detection signal taken for a QRS complex: monitors must not count below 0.15 mV (IEC 60601-2-27)."""
    small_mv: float = 0.3
    """Complexes below this must stand out by `stand_out_ratio` or be like those before them.  The amplitude below which
    the signal quality judges no noise either, so that an asystole with electrode noise stays usable."""
    stand_out_ratio: float = 3.0
    """Energy of a small complex over that of the quietest third of the second before it (own choice)."""
    least_threshold: float = 0.25
    """The threshold is never below this share of the usual beat, however quiet the signal."""
    largest_noise: float = 0.35
    """Noise is never taken for more than this share of the usual beat: at 300 bpm the energy of the beats themselves
    leaves no quiet third of a second, and T waves may be large."""
    noisy_floor: tuple[float, float] = (0.1, 0.3)
    """Where the quietest third of the last second reaches the first share of the usual beat, likeness and time begin
    to count; from the second on they count fully.  Seen in muscle noise of 18 and 8 dB."""
    likeness_weight: float = 0.65
    """How much the threshold rises, as a logarithm, for a candidate that looks like no known complex."""
    known_likeness: float = 0.9
    """What is as like as this to the usual complex, or to one of the last four, is no noise: the waves of a fast
    ventricular run leave no quiet third of a second either."""
    early_weight: float = 0.3
    """The same for one that comes early: its power of the usual interval by its own."""
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
    """In a pause longer than ``search_back_rr`` medians the threshold halves each half second: a tenfold drop of
    the amplitude is followed within 3 s."""
    between_ratio: float = 1.2
    """In a pause the threshold stays this far above the usual maximum between two beats, so that P waves without a
    QRS complex are not counted (own choice)."""
    between_half_life_s: float = 20.0
    """How fast that bound sinks, in case the amplitude itself has dropped: P waves stay uncounted for 6 s, longer
    than an asystole takes to be alarmed (own choice)."""
    clear_ratio: float = 3.0
    """A lead shows beats clearly where they are this much larger than all that lies between them (own choice)."""
    learning_s: float = 1.5
    """Beat levels start from the largest maximum in this time after the first one above the floor (own choice)."""
