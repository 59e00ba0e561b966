"""How a Polar sensor is brought to send: what to ask next, and what an answer means.

Pure.  Used by `polar_pmd`, which tells it what was heard and asks it what is due::

    asked ──settings──▶ starting ──success──▶ running ──data──▶ running
      ▲                    │  ▲                  │
      │        error 5, 7, 8, 9, 11: another of  │ stopped by itself, or no data for `silence_s`
      │        the offered combinations          ▼
      └──────── nothing left, later ◀──── stopping (also on error 6: somebody else's settings may be running)

The control point has one answer on its way at a time, so streams take turns.  Answers can be lost: what is not answered
within `answer_timeout_s` is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import product

from edge.acquisition.gatt.polar_control import (
    ControlError,
    Features,
    Offered,
    Operation,
    Response,
    Setting,
    Stopped,
    decode_settings,
    factor_of,
    settings_request,
    start_request,
    stop_request,
)
from edge.acquisition.gatt.polar_frames import MeasurementType
from edge.acquisition.gatt.rejected import Rejected

NS_PER_S = 1_000_000_000

_MAX_CHOICES = 32  # combinations tried before a stream is left alone for `give_up_s`
_MAX_PARAMETERS = 1024  # of settings that come in several answers; real ones have less than 100
_UNANSWERED = "unanswered"
_MANY = 3  # requests without an answer, after which a person is told
_UNSUPPORTED = {ControlError.BAD_OPERATION, ControlError.BAD_TYPE, ControlError.NOT_SUPPORTED}
_BLAMED = {
    ControlError.BAD_RESOLUTION: Setting.RESOLUTION,
    ControlError.BAD_SAMPLE_RATE: Setting.SAMPLE_RATE,
    ControlError.BAD_RANGE: Setting.RANGE,
    ControlError.BAD_CHANNELS: Setting.CHANNELS,
}
_FALLBACK: Mapping[MeasurementType, Offered] = {
    MeasurementType.ECG: {Setting.SAMPLE_RATE: (130,), Setting.RESOLUTION: (14,)},
}
"""What to start with where a sensor answers the question for settings with an empty list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueSettings:
    """What is wanted of the sensor."""

    streams: tuple[MeasurementType, ...]
    """Those that the sensor does not have are left out."""
    preferred: Mapping[MeasurementType, Mapping[Setting, int]] = field(default_factory=dict)
    """Wished values; of those offered, the nearest that is not less, else the largest.  Without a wish: the largest."""
    features_timeout_s: float = 2.0
    """After this long without the list of features, every stream is simply asked for."""
    answer_timeout_s: float = 5.0
    """After this long a request is repeated.  The maker's own library waits 30 s, which is long without data; an H10
    answers within one or two connection intervals."""
    retry_s: float = 1.0
    """Before asking again what failed for a passing reason: the MTU was not exchanged yet (error 10), or the sensor
    stopped by itself."""
    give_up_s: float = 60.0
    """Before trying a stream again of which every combination was refused, or that is not possible at present (in the
    charger)."""
    silence_s: float = 10.0
    """A running stream without data for this long is stopped and started again.  The slowest stream sends once or
    twice a second."""
    interval_silence_s: float = 90.0
    """The same for pulse intervals: the first come after 25 s, and none while the wearer moves."""


class Phase(Enum):
    """Where a stream stands."""

    UNASKED = auto()
    STARTING = auto()
    """Its settings are known, or it needs none."""
    RUNNING = auto()
    STOPPING = auto()
    """To be stopped, then started again."""
    UNSUPPORTED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSetup:
    """How a running stream was started."""

    chosen: Mapping[Setting, int]
    factor: float | None
    """What a count is worth; None where the sensor did not say."""
    n_starts: int
    """Goes up with every start of any stream and never back: between two, samples were not taken."""


class _Stream:
    """One stream's place in the dialogue."""

    def __init__(self) -> None:
        self.phase = Phase.UNASKED
        self.not_before_ns: int | None = None
        self.alive_at_ns: int | None = None
        self.parameters = b""
        self.choices: list[dict[Setting, int]] = []
        self.setup: StreamSetup | None = None
        self.n_already = 0
        self.n_unanswered = 0
        self.problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    measurement: MeasurementType
    operation: Operation
    asked_at_ns: int


class PolarDialogue:
    """The start-up, and what keeps it up, of one link."""

    def __init__(self, settings: DialogueSettings) -> None:
        self._settings = settings
        self._streams: dict[MeasurementType, _Stream] = {}
        self._question: _Question | None = None
        self._features: Features | None = None
        self._begun_at_ns: int | None = None
        self._n_unasked = 0
        self._n_starts = 0
        self.begin()

    def begin(self) -> None:
        """Start over: a new link, or the old one whose subscriptions were renewed.

        Streams that ran are stopped first, because a sensor that still runs them, and whose data do not come, begins
        anew only then.
        """
        before, self._streams = self._streams, {measurement: _Stream() for measurement in self._settings.streams}
        for measurement, stream in before.items():
            if stream.phase is Phase.RUNNING:
                self._streams[measurement].phase = Phase.STOPPING
                self._streams[measurement].setup = stream.setup  # what still comes is to be read
        self._question = None
        self._begun_at_ns = None

    def forget(self) -> None:
        """Forget the sensor: the link ended, and the next may be another one."""
        self._streams = {}
        self._features = None
        self.begin()

    @property
    def n_unasked(self) -> int:
        """Answers to nothing that was asked; never cleared."""
        return self._n_unasked

    def setup(self, measurement: MeasurementType) -> StreamSetup | None:
        """Return how a stream was started last; None before."""
        stream = self._streams.get(measurement)
        return stream.setup if stream else None

    def problem(self, measurement: MeasurementType) -> str | None:
        """Return why a wanted stream does not run; None where it runs, may soon, or is not one that the sensor has.

        The error's name in lower case, such as ``in-charger``; ``unanswered`` when three requests were not answered.
        """
        stream = self._streams.get(measurement)
        return stream.problem if stream else None

    @property
    def running(self) -> tuple[MeasurementType, ...]:
        """Streams that the sensor said it started."""
        return tuple(each for each, stream in self._streams.items() if stream.phase is Phase.RUNNING)

    # --- what is heard --------------------------------------------------------------------------------------

    def hear(self, message: Features | Response | Stopped, at_ns: int) -> None:
        """Take what was read from or indicated by the control point."""
        match message:
            case Features():
                self._features = message
            case Stopped():
                for number in message.measurements:
                    self._restart_later(number, at_ns)
            case Response():
                self._hear_response(message, at_ns)

    def hear_data(self, number: int, at_ns: int) -> None:
        """Take note that the stream of a measurement, by its number, is alive."""
        stream = self._numbered(number)
        if stream is not None:
            stream.alive_at_ns = at_ns

    def _numbered(self, number: int) -> _Stream | None:
        return next((stream for measurement, stream in self._streams.items() if measurement == number), None)

    def _restart_later(self, number: int, at_ns: int) -> None:
        stream = self._numbered(number)
        if stream is not None and stream.phase is Phase.RUNNING:
            stream.phase = Phase.STARTING if stream.choices else Phase.UNASKED
            self._wait(stream, at_ns, self._settings.retry_s)

    def _hear_response(self, response: Response, at_ns: int) -> None:
        question = self._question if self._begun_at_ns is not None else self._overheard(response, at_ns)
        if question is None or not response.answers(question.operation, question.measurement):
            self._n_unasked += 1
            return
        stream = self._streams[question.measurement]
        if response.has_more and len(stream.parameters) < _MAX_PARAMETERS:
            stream.parameters += response.parameters
            return
        self._question = None
        stream.n_unanswered = 0
        stream.problem = None if stream.problem == _UNANSWERED else stream.problem
        if response.error is ControlError.MTU_TOO_SMALL:
            self._wait(stream, at_ns, self._settings.retry_s)
        elif response.error in _UNSUPPORTED and question.operation is not Operation.STOP:
            stream.phase, stream.problem = Phase.UNSUPPORTED, None  # as if it were not among the features
        elif question.operation is Operation.GET_SETTINGS:
            self._hear_settings(question.measurement, stream, response, at_ns)
        elif question.operation is Operation.START:
            self._hear_start(stream, response, at_ns)
        else:  # stopped; an error means that there was nothing to stop
            stream.phase = Phase.STARTING if stream.choices else Phase.UNASKED
        stream.parameters = b""

    def _overheard(self, response: Response, at_ns: int) -> _Question | None:
        """Return the question that must have been asked before `response`, in a recording of what a sensor said.

        There `due` is never called.  What was chosen stood in the question; it is taken to be the first choice.
        """
        for measurement in self._streams:
            for operation in Operation:
                if (response.operation, response.measurement) == (operation, measurement):
                    return _Question(measurement=measurement, operation=operation, asked_at_ns=at_ns)
        return None

    def _hear_settings(self, measurement: MeasurementType, stream: _Stream, response: Response, at_ns: int) -> None:
        offered = decode_settings(stream.parameters + response.parameters)
        if response.error is not ControlError.SUCCESS or isinstance(offered, Rejected):
            stream.problem = "settings" if response.error is ControlError.SUCCESS else _word(response.error)
            self._wait(stream, at_ns, self._settings.give_up_s)
            return
        wishes = self._settings.preferred.get(measurement, {})
        stream.choices = choices(offered or _FALLBACK.get(measurement, {}), wishes)
        stream.phase = Phase.STARTING

    def _hear_start(self, stream: _Stream, response: Response, at_ns: int) -> None:
        error = response.error
        is_running = error is ControlError.ALREADY_IN_STATE and stream.n_already > 0  # stopping it did not help
        if error is ControlError.SUCCESS or is_running:
            told = decode_settings(response.parameters)
            self._n_starts += 1
            stream.phase, stream.problem, stream.alive_at_ns, stream.n_already = Phase.RUNNING, None, at_ns, 0
            stream.setup = StreamSetup(
                chosen=stream.choices[0] if stream.choices else {},
                factor=None if isinstance(told, Rejected) else factor_of(told),
                n_starts=self._n_starts,
            )
        elif error is ControlError.ALREADY_IN_STATE:
            stream.n_already += 1
            stream.phase = Phase.STOPPING
        elif error is ControlError.BAD_PARAMETER or error in _BLAMED:
            self._choose_other(stream, error, at_ns)
        else:
            stream.problem = _word(error)
            self._wait(stream, at_ns, self._settings.give_up_s)

    def _choose_other(self, stream: _Stream, error: ControlError, at_ns: int) -> None:
        refused = stream.choices[0] if stream.choices else {}
        blamed = _BLAMED.get(error)
        if blamed is None or blamed not in refused:
            stream.choices = stream.choices[1:]
        else:
            stream.choices = [each for each in stream.choices if each.get(blamed) != refused[blamed]]
        if not stream.choices:
            stream.phase, stream.problem = Phase.UNASKED, _word(error)
            self._wait(stream, at_ns, self._settings.give_up_s)

    # --- what is said ---------------------------------------------------------------------------------------

    def due(self, now_ns: int) -> bytes | None:
        """Return the next request, if it is time for one."""
        if self._begun_at_ns is None:
            self._begun_at_ns = now_ns
        question = self._question
        if question is not None:
            if now_ns - question.asked_at_ns < self._settings.answer_timeout_s * NS_PER_S:
                return None
            self._question = None
            stream = self._streams.pop(question.measurement)
            stream.parameters = b""
            stream.n_unanswered += 1
            if stream.n_unanswered >= _MANY:
                stream.problem = _UNANSWERED
            self._streams[question.measurement] = stream  # at the end: the others first
        if self._features is None and now_ns - self._begun_at_ns < self._settings.features_timeout_s * NS_PER_S:
            return None
        for measurement, stream in self._streams.items():
            if self._features is not None and measurement not in self._features:
                continue
            data = self._next_request(measurement, stream, now_ns)
            if data is not None:
                return data
        return None

    def farewell(self) -> list[bytes]:
        """Return the requests that end what runs or may run: an H10 left streaming empties its battery."""
        ends = {Phase.RUNNING, Phase.STARTING, Phase.STOPPING}
        return [stop_request(measurement) for measurement, stream in self._streams.items() if stream.phase in ends]

    def _next_request(self, measurement: MeasurementType, stream: _Stream, now_ns: int) -> bytes | None:
        if stream.not_before_ns is not None and now_ns < stream.not_before_ns:
            return None
        if stream.phase is Phase.RUNNING and self._is_silent(measurement, stream, now_ns):
            stream.phase = Phase.STOPPING
        match stream.phase:
            case Phase.UNASKED if measurement is not MeasurementType.PPI:  # which has no settings
                return self._ask(measurement, Operation.GET_SETTINGS, settings_request(measurement), now_ns)
            case Phase.UNASKED | Phase.STARTING:
                chosen = stream.choices[0] if stream.choices else {}
                return self._ask(measurement, Operation.START, start_request(measurement, chosen), now_ns)
            case Phase.STOPPING:
                return self._ask(measurement, Operation.STOP, stop_request(measurement), now_ns)
            case _:
                return None

    def _is_silent(self, measurement: MeasurementType, stream: _Stream, now_ns: int) -> bool:
        limits = self._settings
        limit_s = limits.interval_silence_s if measurement is MeasurementType.PPI else limits.silence_s
        return stream.alive_at_ns is not None and now_ns - stream.alive_at_ns > limit_s * NS_PER_S

    def _ask(self, measurement: MeasurementType, operation: Operation, data: bytes, now_ns: int) -> bytes:
        self._question = _Question(measurement=measurement, operation=operation, asked_at_ns=now_ns)
        return data

    def _wait(self, stream: _Stream, at_ns: int, wait_s: float) -> None:
        stream.not_before_ns = at_ns + round(wait_s * NS_PER_S)


def _word(error: ControlError) -> str:
    return error.name.lower().replace("_", "-")


def choices(offered: Offered, wishes: Mapping[Setting, int]) -> list[dict[Setting, int]]:
    """Return combinations of `offered` to start a stream with, best first, at most 32.

    Examples
    --------
    >>> choices({Setting.SAMPLE_RATE: (25, 50, 100, 200)}, {Setting.SAMPLE_RATE: 50})[0]
    {<Setting.SAMPLE_RATE: 0>: 50}
    """
    settings = [each for each in offered if each < Setting.FACTOR and offered[each]]
    ranked: list[list[int]] = []
    for each in settings:
        wish = wishes.get(each)
        values = sorted(set(offered[each]), reverse=True)
        if wish is not None:
            values.sort(key=lambda value: (value < wish, abs(value - wish)))
        ranked.append(values[:_MAX_CHOICES])
    found: list[dict[Setting, int]] = []
    for combination in product(*ranked):
        found.append(dict(zip(settings, combination, strict=True)))
        if len(found) == _MAX_CHOICES:
            break
    return found
