"""Polar sensors (H10, Verity Sense, OH1): ECG, acceleration, pulse wave and pulse intervals, besides the heart rate.

Pure.  Fed by the sensor supervision like every decoder; `POLAR_PLAN` says how the sensor is found and what to subscribe
to.  Nothing comes before the sensor was asked, so the requests matter::

    decoder = PolarDecoder(PolarSettings(sensor="chest", streams=("ecg", "acc")))
    write(decoder.greeting())                        # on every connect, and after subscriptions were renewed
    write(decoder.requests(now_ns))                  # every quarter of a second: settings, start, start again
    for item in decoder.push(chunk): ...
    write(decoder.farewell())                        # before an orderly close: an H10 left streaming drains its battery

A new link to the same sensor goes on where the last one ended: what was missed is counted to the sample by the sensor's
own clock, which runs on while the sensor does.

The maker's licence for its SDK excludes medical use; nothing of it is used here.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from edge.acquisition.decoder import DecoderCounters
from edge.acquisition.gatt.plan import GattPlan
from edge.acquisition.gatt.polar_control import CONTROL, DATA, SERVICE, Setting, decode_control
from edge.acquisition.gatt.polar_dialogue import DialogueSettings, PolarDialogue
from edge.acquisition.gatt.polar_frames import (
    MeasurementType,
    PulseInterval,
    PulseIntervals,
    Samples,
    UnknownFrame,
    decode_frame,
)
from edge.acquisition.gatt.polar_streams import SAMPLED, PolarStream, StreamOutcome
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileItem, ProfileSettings, profile_plan
from edge.acquisition.gatt.rejected import Rejected
from edge.messages import (
    Chunk,
    Corrupt,
    DeviceBlock,
    Gap,
    Outgoing,
    RrIntervals,
    SensorIdentity,
    SensorStatus,
    StreamInfo,
)

STREAMS = {measurement.name.lower(): measurement for measurement in MeasurementType}
"""Streams that can be asked for, by the name used in the configuration."""

_HEART_RATE = profile_plan(("heart_rate",))

POLAR_PLAN = GattPlan(
    services=(SERVICE,),
    subscribe=(CONTROL, DATA, *_HEART_RATE.subscribe),
    read=(*_HEART_RATE.read, CONTROL),
    required=(CONTROL, DATA),
    write_to=CONTROL,
    name_prefix="Polar ",
)
"""How a Polar sensor is used.  It advertises the heart-rate service only, so it is recognised by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarSettings:
    """How one Polar sensor is read.

    Raises
    ------
    ValueError
        If a stream has no such name.
    """

    sensor: str
    """Id of the sensor in the configuration; stands in everything that comes out."""
    streams: tuple[str, ...] = ("ecg", "acc", "ppi", "ppg")
    """Keys of `STREAMS`; those that the sensor does not have are left out.  The heart rate always comes."""
    acc_rate_hz: int = 50
    """Wished rate of the acceleration; the nearest offered that is not less.  An H10 has 25, 50, 100 and 200 Hz."""
    acc_range_g: int = 8
    """Wished range: a fall exceeds 2 g."""
    max_interval_error_ms: int = 30
    """Pulse intervals with a larger error, by the sensor's own estimate, are not passed on: beyond 30 ms the maker
    speaks of movement or a loose strap (API documentation of ``PolarPpiSample``)."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.streams if name not in STREAMS]
        if unknown:
            raise ValueError(f"expected streams among {sorted(STREAMS)}, got {unknown}")


PolarItem = ProfileItem | DeviceBlock | Gap


class PolarDecoder:
    """Decode the notifications of one Polar sensor, and ask for them.

    Corrupt reasons beyond those of `polar_frames.decode_frame`, `polar_control.decode_control` and `ProfileDecoder`:

    ``duplicate``, ``late``
        samples that had come, or been counted as lost, before;
    ``not-started``
        samples of a stream that nobody here started;
    ``no-factor``
        compressed acceleration of which the sensor did not say what a count is worth;
    ``blocked``, ``interval``
        a pulse interval that the sensor itself does not believe, or that is none;
    ``unasked``
        an answer to what was not asked.
    """

    def __init__(self, settings: PolarSettings) -> None:
        self._settings = settings
        measurements = tuple(STREAMS[name] for name in dict.fromkeys(settings.streams))
        self._dialogue = PolarDialogue(
            DialogueSettings(
                streams=measurements,
                preferred={
                    MeasurementType.ACC: {
                        Setting.SAMPLE_RATE: settings.acc_rate_hz,
                        Setting.RANGE: settings.acc_range_g,
                    }
                },
            )
        )
        self._profiles = ProfileDecoder(ProfileSettings(sensor=settings.sensor, profiles=("heart_rate",)))
        self._n_frames = 0
        self._n_corrupt: Counter[str] = Counter()
        self._n_unknown_types: Counter[int] = Counter()
        self._n_lost_frames = 0
        self._n_lost_samples = 0
        self._n_clock_jumps = 0
        self._remembered: tuple[str, dict[MeasurementType, PolarStream]] | None = None
        self._forget()

    def _forget(self) -> None:
        self._offset = 0
        self._is_met = False
        self._identity: SensorIdentity | None = None
        self._problems: dict[MeasurementType, str] = {}  # as told on this link; empty: it runs
        self._streams = {
            measurement: PolarStream(self._settings.sensor, name, measurement)
            for name, measurement in STREAMS.items()
            if measurement in SAMPLED and name in self._settings.streams
        }

    @property
    def counters(self) -> DecoderCounters:
        """What was seen so far; a jump of the device's clock counts as a reset."""
        profiles = self._profiles.counters
        return DecoderCounters(
            n_frames=self._n_frames + profiles.n_frames,
            n_corrupt=dict(self._n_corrupt + Counter(profiles.n_corrupt)),
            n_unknown_types=dict(self._n_unknown_types + Counter(profiles.n_unknown_types)),
            n_lost_frames=self._n_lost_frames,
            n_lost_samples=self._n_lost_samples,
            n_device_resets=self._n_clock_jumps,
        )

    def push(self, item: Chunk) -> list[PolarItem]:
        """Return what one value of a characteristic says."""
        if item.channel == DATA:
            out = self._frame(item)
        elif item.channel == CONTROL:
            out = self._control(item)
        else:
            out = self._profile(item)
        self._offset += len(item.data)
        return [*self._problem_changes(item.received_at_ns), *self._stream_changes(item.received_at_ns), *out]

    def flush(self) -> list[PolarItem]:
        """Return the frames that wait for their rate to be known; otherwise a notification is whole or does not come."""
        return [item for stream in self._streams.values() for item in self._counted(stream.release())]

    def reset(self, reason: str) -> None:
        """Begin a new link: if the same sensor answers, by its serial number, its streams go on counting.

        A link on which no samples came changes nothing: a mute sensor may be connected several times before it is well.
        """
        if self._is_met and self._identity is not None and self._identity.device_id:
            self._remembered = (self._identity.device_id, self._streams)
        self._profiles.reset(reason)
        self._dialogue.forget()
        self._forget()

    def greeting(self) -> list[Outgoing]:
        """Begin the dialogue anew, on a new link or one whose subscriptions were renewed; `requests` says the words."""
        self._dialogue.begin()
        return self._profiles.greeting()

    def requests(self, now_ns: int) -> list[Outgoing]:
        """Return what is due at `now_ns`: the next request to the control point."""
        data = self._dialogue.due(now_ns)
        return [*([Outgoing(data=data, channel=CONTROL)] if data else []), *self._profiles.requests(now_ns)]

    def farewell(self) -> list[Outgoing]:
        """Return what to write before the link is closed on purpose: the end of every stream."""
        return [Outgoing(data=data, channel=CONTROL) for data in self._dialogue.farewell()]

    # --- measurement data -----------------------------------------------------------------------------------

    def _frame(self, item: Chunk) -> list[PolarItem]:
        frame = decode_frame(item.data)
        match frame:
            case Rejected(reason=reason):
                return [self._corrupt(reason, item)]
            case UnknownFrame(measurement=measurement):
                self._n_unknown_types[measurement] += 1
                self._dialogue.hear_data(measurement, item.received_at_ns)  # starting it again would not help
                return []
            case PulseIntervals():
                self._n_frames += 1
                self._dialogue.hear_data(MeasurementType.PPI, item.received_at_ns)
                return self._intervals(frame, item)
            case Samples():
                return self._samples(frame, item)

    def _meet(self) -> None:
        """Take up the streams where the last link left them, if the sensor is the one that was there."""
        if self._is_met:
            return
        self._is_met = True
        device_id = self._identity.device_id if self._identity is not None else ""
        if self._remembered is not None and self._remembered[0] == device_id:
            self._streams = self._remembered[1]
            for stream in self._streams.values():
                stream.resume()
        self._remembered = None

    def _samples(self, frame: Samples, item: Chunk) -> list[PolarItem]:
        self._meet()
        stream = self._streams.get(frame.measurement)
        setup = self._dialogue.setup(frame.measurement)
        if stream is None or setup is None:
            return [self._corrupt("not-started", item)]
        stream.start(setup)
        outcome = stream.take(frame, item.received_at_ns)
        if outcome.dropped is not None:
            return [*self._counted(outcome), self._corrupt(outcome.dropped, item)]
        self._dialogue.hear_data(frame.measurement, item.received_at_ns)
        self._n_frames += 1
        return self._counted(outcome)

    def _counted(self, outcome: StreamOutcome) -> list[PolarItem]:
        self._n_lost_frames += outcome.n_lost_frames
        self._n_lost_samples += outcome.n_lost_samples
        self._n_clock_jumps += outcome.n_jumps
        return list(outcome.items)

    def _intervals(self, frame: PulseIntervals, item: Chunk) -> list[PolarItem]:
        """Return the intervals; one that is not to be used leaves NaN, so that its neighbours do not seem adjacent."""
        out: list[PolarItem] = []
        intervals_ms: list[float] = []
        for each in frame.intervals:
            reason = self._doubt(each)
            intervals_ms.append(float(each.interval_ms) if reason is None else math.nan)
            if reason is not None:
                out.append(self._corrupt(reason, item))
        if all(map(math.isnan, intervals_ms)):
            return out
        return [
            *out,
            RrIntervals(
                sensor=self._settings.sensor,
                intervals_ms=tuple(intervals_ms),
                received_at_ns=item.received_at_ns,
                is_worn=None,  # optical sensors report contact lying on a table
            ),
        ]

    def _doubt(self, interval: PulseInterval) -> str | None:
        """Return why an interval is not to be used: the maker's own advice, and what is no interval at all."""
        if interval.is_blocked or interval.has_contact is False:
            return "blocked"
        if not interval.interval_ms or interval.error_ms > self._settings.max_interval_error_ms:
            return "interval"
        return None

    # --- everything else ------------------------------------------------------------------------------------

    def _control(self, item: Chunk) -> list[PolarItem]:
        message = decode_control(item.data)
        if isinstance(message, Rejected):
            return [self._corrupt(message.reason, item)]
        n_unasked = self._dialogue.n_unasked
        self._dialogue.hear(message, item.received_at_ns)
        if self._dialogue.n_unasked > n_unasked:
            return [self._corrupt("unasked", item)]
        self._n_frames += 1
        if self._dialogue.running:
            self._meet()
        for measurement, stream in self._streams.items():
            setup = self._dialogue.setup(measurement)
            if setup is not None:
                stream.start(setup)
        return []

    def _problem_changes(self, at_ns: int) -> list[SensorStatus]:
        """Return what changed about streams that the sensor has and does not start.

        That a stream runs is told once on every link: the last one may have ended while it did not.
        """
        out = []
        running = self._dialogue.running
        for name, measurement in STREAMS.items():
            problem = self._dialogue.problem(measurement)
            if problem is None and measurement not in running:
                continue
            word = problem or ""
            if self._problems.get(measurement) == word:
                continue
            self._problems[measurement] = word
            out.append(
                SensorStatus(
                    sensor=self._settings.sensor,
                    stream=name,
                    condition="device-error",
                    is_active=problem is not None,
                    at_ns=at_ns,
                    detail=word,
                )
            )
        return out

    def _profile(self, item: Chunk) -> list[PolarItem]:
        """Return what the common profiles say: rate, intervals, battery, and who the sensor is."""
        out: list[PolarItem] = []
        for found in self._profiles.push(item):
            if isinstance(found, SensorIdentity):
                self._identity = replace(found, streams=self._infos())
                out.append(self._identity)
            elif isinstance(found, Corrupt):
                out.append(replace(found, offset=self._offset))
            else:
                out.append(found)
        return out

    def _stream_changes(self, at_ns: int) -> list[SensorIdentity]:
        """Return who the sensor is once more, when a stream was started or turned out to have another rate."""
        infos = self._infos()
        known = self._identity
        if infos == (known.streams if known else ()):
            return []
        nobody = SensorIdentity(
            sensor=self._settings.sensor, device_id="", model="", firmware="", boot_id=0, streams=(), at_ns=at_ns
        )
        self._identity = replace(known or nobody, streams=infos, at_ns=at_ns)
        return [self._identity]

    def _infos(self) -> tuple[StreamInfo, ...]:
        infos = (stream.info for stream in self._streams.values())
        return tuple(info for info in infos if info is not None)

    def _corrupt(self, reason: str, item: Chunk) -> Corrupt:
        self._n_corrupt[reason] += 1
        return Corrupt(reason=reason, offset=self._offset, n_bytes=len(item.data))
