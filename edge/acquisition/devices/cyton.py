"""OpenBCI Cyton: eight channels of 24 bits at 250 Hz through its USB dongle, and the board's accelerometer.

::

     0        A0      start; may occur in the data too
     1        u8      sample number, wraps after 255
     2 ... 25 8 x i24 channels, big-endian; one count is 4.5 V / gain / (2^23 - 1)
    26 ... 31 3 x i16 accelerometer, big-endian, 0.125 mg; zeros where there is no new sample (when byte 32 is C0)
    32        C0-CF   stop, and what bytes 26-31 are

On connecting the board is stopped (``s``) and reset (``v``), which sets every channel to its default gain; it answers
with a text that ends in ``$$$``, and is then started (``b``).  With a Daisy module on top, every other frame would
hold other channels: it is switched off (``c``).  Between frames the dongle may send text of its own.

The sample number tells a loss of up to 255 samples; how many whole turns of it went by is told by the arrivals.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from edge.acquisition.devices.cyton_dialogue import CytonDialogue
from edge.acquisition.devices.cyton_numbers import NUMBERS, SampleNumbers
from edge.acquisition.devices.device import DeviceDecoder, DeviceItem
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.devices.sampling import NS_PER_S, SampleStream, SampleStreamSettings
from edge.acquisition.devices.scanner import NOTHING_HERE, RawFrame, Rejected, share_of_frames
from edge.messages import Channel, ChannelKind, Outgoing

LINE = LineSettings(baud=115_200)
RATE_HZ = 250.0
ACCELERATION_RATE_HZ = 25.0
MODEL = "OpenBCI Cyton"
N_CHANNELS = 8

_FRAME_BYTES = 33
_START = 0xA0
_STOP, _STOP_MASK = 0xC0, 0xF0
_FULL_SCALE_MV, _FULL_SCALE_COUNTS = 4500.0, 2**23 - 1
_MPS2_PER_COUNT = 0.002 / 16 * 9.80665
_MAX_TEXT_BYTES = 512
_TEXT = re.compile(rb"[\t\n\r -~]*")
_END_OF_TEXT = b"$$$"
_FIRMWARE = re.compile(rb"Firmware:\s*(v[0-9.]+)")
_FAILURE = re.compile(rb"(?i)failure|system is down|unable to communicate")
_MAX_STEP = 4
"""By how much the number of a frame may differ from the one before, to be believed after something else."""
_HELD_FRAMES = 25
"""After a pause so many frames, a tenth of a second, are looked at together."""
_ACCELERATION_STEP = round(RATE_HZ / ACCELERATION_RATE_HZ)
_MIN_ACCELERATION_STEP = 6
"""Frames between two samples of the accelerometer at least: its oscillator is off by 10 % at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CytonSettings:
    """How the board is read.

    Raises
    ------
    ValueError
        If a channel is not one of 1 to 8, or the gain is not positive.
    """

    sensor: str
    """Id of the sensor in the configuration."""
    gain: float = 24.0
    """Gain of every channel: the board's default after a reset."""
    ecg_channels: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    """Channels, 1 to 8, that have ECG electrodes; the others are passed on as channels of another kind."""
    streams: tuple[str, ...] = ()
    """Streams to pass on, of ``ecg``, ``acceleration``; empty for all."""
    block_samples: int = 25
    """Samples in one block: a tenth of a second."""
    max_stall_s: float = 60.0
    """After a longer pause the number of lost samples is not counted any more: 500 ppm of clock error are then
    half of the 128 samples that may not be mistaken."""

    def __post_init__(self) -> None:
        if not self.gain > 0:
            raise ValueError(f"expected gain > 0, got {self.gain}")
        if not set(self.ecg_channels) <= set(range(1, N_CHANNELS + 1)):
            raise ValueError(f"expected channels from 1 to {N_CHANNELS}, got {self.ecg_channels}")


class CytonJudge:
    """Tells frames and texts from other bytes.

    Start and stop byte are little to go by, and both occur in the data.  After anything that was no frame, one is
    believed only if its number continues the last one's, or if one with the next number follows at once.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._is_in_step = False

    def __call__(self, data: bytearray, at: int, is_end: bool) -> int | Rejected:
        """Return the length of the frame or text at `at`, 0 for "more bytes needed", or why there is none."""
        found = self._judge_frame(data, at, is_end=is_end) if data[at] == _START else _judge_text(data, at)
        if isinstance(found, Rejected):
            self._is_in_step = False
        elif found == _FRAME_BYTES and data[at] == _START:
            self._is_in_step = True
            self._number = data[at + 1]
        return found

    def reset(self) -> None:
        """Forget the link."""
        self._number = None
        self._is_in_step = False

    def _judge_frame(self, data: bytearray, at: int, *, is_end: bool) -> int | Rejected:
        end = at + _FRAME_BYTES
        if len(data) < end:
            return 0
        if data[end - 1] & _STOP_MASK != _STOP:
            return Rejected("stop", _FRAME_BYTES)
        number = data[at + 1]
        if self._is_in_step or (self._number is not None and _continues(number, self._number)):
            return _FRAME_BYTES
        if len(data) < end + 2:
            return _FRAME_BYTES if is_end and len(data) == end else 0
        # A signal that stands still looks like frames at any byte A0 in it; only the numbers go on.
        is_confirmed = data[end] == _START and _continues(data[end + 1], number)
        return _FRAME_BYTES if is_confirmed else Rejected("unconfirmed", _FRAME_BYTES)


def _continues(number: int, before: int) -> bool:
    return 0 < (number - before) % NUMBERS <= _MAX_STEP


def _judge_text(data: bytearray, at: int) -> int | Rejected:
    match = _TEXT.match(data, at, at + _MAX_TEXT_BYTES)
    end = at if match is None else match.end()
    if end == at:
        return NOTHING_HERE
    marker = data.find(_END_OF_TEXT, at, end)
    if marker >= 0:
        return marker + len(_END_OF_TEXT) - at
    if end == len(data) and end - at < _MAX_TEXT_BYTES:
        return 0
    return Rejected("text", end - at)


def recognise(data: bytes) -> float:
    """Return which share of `data` is this device's, 0 to 1; a board that is not started says only who it is."""
    return share_of_frames(data, CytonJudge())


class CytonDecoder(DeviceDecoder):
    """Bytes of the board to a stream of eight channels in mV and one of acceleration in m/s2."""

    def __init__(self, settings: CytonSettings) -> None:
        self._judge = CytonJudge()
        super().__init__(
            settings.sensor,
            self._judge,
            report_period_frames=round(RATE_HZ),
            max_stall_s=settings.max_stall_s,
            streams=settings.streams,
            agreeing_frames=1,
        )
        self._settings = settings
        self._mv_per_count = _FULL_SCALE_MV / settings.gain / _FULL_SCALE_COUNTS
        self._ecg = SampleStream(self._ecg_settings())
        self._acceleration = SampleStream(self._acceleration_settings())
        self._streams = (self._ecg, self._acceleration)
        self._numbers = SampleNumbers(RATE_HZ)
        self._dialogue = CytonDialogue()
        self._firmware = ""
        self._is_known = False
        self._held: list[RawFrame] = []
        self._accelerated_at: int | None = None  # sample index of the newest acceleration
        self._had_axes = False

    def greeting(self) -> list[Outgoing]:
        """Return the commands that stop and reset the board."""
        return self._dialogue.greeting()

    def requests(self, now_ns: int) -> list[Outgoing]:
        """Return the command that starts the board once it said that it is ready, and again while it is silent."""
        return self._dialogue.due(now_ns, framed_at_ns=self._framed_at_ns)

    def farewell(self) -> list[Outgoing]:
        """Return the command that stops the board: its battery lasts longer."""
        return [Outgoing(data=b"s")]

    def _forget(self) -> None:
        self._judge.reset()
        self._numbers.reset()
        self._dialogue.reset()
        self._firmware = ""
        self._is_known = False
        self._held = []
        self._accelerated_at = None
        self._had_axes = False

    def _after_garbage(self, frame: RawFrame) -> list[DeviceItem]:  # noqa: ARG002  the numbers tell what is missing
        return []

    def _gaps(self, reason: str, at_ns: int) -> list[DeviceItem]:
        # Samples do not go on from here.
        self._numbers.reset()
        self._accelerated_at = None
        return super()._gaps(reason, at_ns)

    def _finish(self) -> list[DeviceItem]:
        return self._release()

    def _frame(self, frame: RawFrame) -> list[DeviceItem]:
        if frame.data[0] != _START:
            return [*self._release(), *self._text(frame)]
        if not self._held and not self._numbers.is_doubtful(frame.received_at_ns):
            return self._sample(frame)
        self._held.append(frame)
        return self._release() if len(self._held) >= _HELD_FRAMES else []

    def _release(self) -> list[DeviceItem]:
        """Take the frames after a pause, once their pace tells whether it was a late delivery or a loss."""
        held, self._held = self._held, []
        if not held:
            return []
        span_ns = held[-1].received_at_ns - held[0].received_at_ns
        # Samples that were taken now come at the rate of the converter; what waited in a buffer comes at once.
        is_backlog = span_ns < (len(held) - 1) / RATE_HZ / 2 * NS_PER_S
        out = self._sample(held[0], is_backlog=is_backlog)
        for frame in held[1:]:
            out += self._sample(frame)
        return out

    def _sample(self, frame: RawFrame, *, is_backlog: bool = False) -> list[DeviceItem]:
        at_ns = frame.received_at_ns
        out = self._note_frame(frame)
        step = self._numbers.step(frame.data[1], at_ns, is_backlog=is_backlog)
        if step is None:
            self._n_frames -= 1
            return [*out, self._drop("duplicate", frame)]
        if not self._is_known:
            self._is_known = True
            out.append(self._identity(MODEL, at_ns, firmware=self._firmware, boot_id=self._dialogue.n_boots))
        out += self._reports.condition("device-error", is_active=False, at_ns=at_ns)
        if step.is_restart:
            self._n_device_resets += 1
            out += super()._gaps("device-reset", at_ns)
            self._accelerated_at = None
        if step.n_lost:
            self._n_lost_frames += step.n_lost
            out += self._ecg.skip(step.n_lost)
        out += self._ecg.add(self._row(frame.data), at_ns)
        return [*out, *self._accelerate(frame.data, at_ns)]

    def _row(self, data: bytes) -> tuple[float, ...]:
        scale = self._mv_per_count
        return tuple(int.from_bytes(data[k : k + 3], "big", signed=True) * scale for k in range(2, 26, 3))

    def _accelerate(self, data: bytes, at_ns: int) -> list[DeviceItem]:
        axes = struct.unpack(">hhh", data[26:32])
        has_axes, had_axes = data[32] == _STOP and any(axes), self._had_axes
        self._had_axes = has_axes
        if not has_axes:  # zeros: the accelerometer, at 25 Hz, has nothing new
            return []
        index, before = self._ecg.sequence - 1, self._accelerated_at
        # Some firmware repeats the last sample instead of sending zeros: then every tenth is one.
        if before is not None and index - before < (_ACCELERATION_STEP if had_axes else _MIN_ACCELERATION_STEP):
            return []
        self._accelerated_at = index
        out: list[DeviceItem] = []
        if before is not None and index - before > 2 * _ACCELERATION_STEP:
            out += self._acceleration.gap("lost-frames", at_ns)  # its samples have no number of their own
        # Its oscillator is worth little: the crystal that counts the frames tells when each was taken.
        row = tuple(axis * _MPS2_PER_COUNT for axis in axes)
        return [*out, *self._acceleration.add(row, at_ns, device_time_ns=self._ecg.device_time_ns(index))]

    def _text(self, frame: RawFrame) -> list[DeviceItem]:
        at_ns = frame.received_at_ns
        if _FAILURE.search(frame.data):
            detail = frame.data.removesuffix(_END_OF_TEXT).decode("ascii").strip()
            return [*self._reports.condition("device-error", is_active=True, at_ns=at_ns, detail=detail)]
        if b"OpenBCI" not in frame.data and b"ADS1299" not in frame.data:
            return []
        was_told = self._dialogue.is_resetting
        self._dialogue.hear_ready(has_daisy=b"Daisy" in frame.data)
        found = _FIRMWARE.search(frame.data)
        self._firmware = found.group(1).decode("ascii") if found else ""
        out: list[DeviceItem] = []
        if self._framed_at_ns is not None:  # it was streaming: the board restarted
            self._n_device_resets += 0 if was_told else 1
            out += self._gaps("device-reset", at_ns)
            self._framed_at_ns = None
        self._is_known = True
        return [*out, self._identity(MODEL, at_ns, firmware=self._firmware, boot_id=self._dialogue.n_boots)]

    def _ecg_settings(self) -> SampleStreamSettings:
        limit_mv = _FULL_SCALE_MV / self._settings.gain
        channels = tuple(
            Channel(
                name=f"CH{k}",
                kind=ChannelKind.ECG if k in self._settings.ecg_channels else ChannelKind.OTHER,
                unit="mV",
                minimum=-limit_mv,
                maximum=limit_mv,
                resolution=self._mv_per_count,
            )
            for k in range(1, N_CHANNELS + 1)
        )
        return SampleStreamSettings(
            sensor=self._settings.sensor,
            stream="ecg",
            channels=channels,
            rate_hz=RATE_HZ,
            block_samples=self._settings.block_samples,
        )

    def _acceleration_settings(self) -> SampleStreamSettings:
        kinds = (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)
        channels = tuple(
            Channel(
                name=f"A{kind.value[-1].upper()}",
                kind=kind,
                unit="m/s2",
                minimum=-(2**15) * _MPS2_PER_COUNT,
                maximum=(2**15 - 1) * _MPS2_PER_COUNT,
                resolution=_MPS2_PER_COUNT,
            )
            for kind in kinds
        )
        return SampleStreamSettings(
            sensor=self._settings.sensor,
            stream="acceleration",
            channels=channels,
            rate_hz=ACCELERATION_RATE_HZ,
            block_samples=5,
        )
