"""Which device a stretch of bytes from a serial port comes from: bytes in, `Recognised` or nothing out.

Pure.  Used by ``vitaledge scan``, which listens at every line of `LINES` in turn::

    found = recognise(data)          # what was heard at one speed
    if found is not None:
        print(found.driver, found.words)

Each codec judges the bytes by its own rules; our own frames carry a checksum of 32 bits, so one of them is proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.devices import contec_5byte, contec_v7, cyton, nonin, openview
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.framing import Frame, FrameDecoder
from edge.acquisition.packets import Hello, decode_packet
from edge.messages import Chunk, Outgoing

BRIDGE = "bridge_serial"
"""Driver of `firmware_bridge/PROTOCOL.md`."""
BRIDGE_LINE = LineSettings(baud=115_200)
"""Speed that the protocol names; another one is a matter of the firmware."""
MIN_SHARE = 0.6
"""Least share of the bytes that must be a device's frames: a stream with a third of it damaged is still told.  Of 20000
stretches of 100 random bytes the one most like a device reached 0.37 (measured, every codec)."""
MIN_BYTES = 100
"""Fewer prove nothing where the frames have no strong checksum: of 40 random bytes some look like two frames.  The
slowest device sends as many in a third of a second."""

MAX_BYTES = 2048
"""Only the newest are judged: two of our own longest frames.  What a board prints while it starts is forgotten, and
judging takes 20 ms (measured on an x86 server with 2 cores) however long a port is listened to."""

_CYTON_BANNER = b"OpenBCI"  # a board that was not started says who it is, and no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What the bytes come from."""

    driver: str
    """Name for the configuration."""
    words: str
    """What the device is, as far as the bytes say."""
    share: float
    """Share of the bytes that are the device's frames, 0 to 1."""
    line: LineSettings
    """How its line is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialKind:
    """One kind of serial device."""

    words: str
    line: LineSettings
    share: Callable[[bytes], float]


def bridge_share(data: bytes) -> float:
    """Return which share of `data` is our own frames; 1 if there is any, for its checksum leaves no doubt."""
    return 1.0 if _frames(data) else 0.0


def cyton_share(data: bytes) -> float:
    """Return which share of `data` is a Cyton's; 1 if it says its name."""
    return 1.0 if _CYTON_BANNER in data else cyton.recognise(data) if len(data) >= MIN_BYTES else 0.0


KINDS: Mapping[str, SerialKind] = MappingProxyType(
    {
        BRIDGE: SerialKind(words="firmware that speaks our protocol", line=BRIDGE_LINE, share=bridge_share),
        "openview": SerialKind(words="HealthyPi or OpenView board", line=openview.LINE, share=openview.recognise),
        "contec_cms50_v7": SerialKind(
            words="Contec CMS50 oximeter, newer protocol", line=contec_v7.LINE, share=contec_v7.recognise
        ),
        "cyton": SerialKind(words="OpenBCI Cyton board", line=cyton.LINE, share=cyton_share),
        "nonin": SerialKind(words="Nonin oximeter", line=nonin.LINE, share=nonin.recognise),
        "contec_cms50": SerialKind(
            words="Contec CMS50 oximeter, older protocol", line=contec_5byte.LINE, share=contec_5byte.recognise
        ),
    }
)
"""By the name of the driver; in doubt the earlier one is meant."""

LINES: tuple[LineSettings, ...] = tuple(dict.fromkeys(kind.line for kind in KINDS.values()))
"""Every line that one of the devices uses, each once."""


_SURE = (BRIDGE, "cyton")  # known by a checksum and by a name, from few bytes


def recognise(data: bytes) -> Recognised | None:
    """Return what `data` comes from; None if it is too little or of nothing that is known."""
    data = data[-MAX_BYTES:]
    kinds = KINDS.items() if len(data) >= MIN_BYTES else [(name, KINDS[name]) for name in _SURE]
    shares = {driver: kind.share(data) for driver, kind in kinds}
    driver = max(shares, key=shares.__getitem__)
    if shares[driver] < MIN_SHARE:
        return None
    kind = KINDS[driver]
    words = bridge_words(data) if driver == BRIDGE else kind.words
    return Recognised(driver=driver, words=words or kind.words, share=shares[driver], line=kind.line)


def questions(line: LineSettings) -> list[bytes]:
    """Return what makes the devices of `line` speak that are silent until asked, one question for each.

    A bridge device says who it is, a Contec sends what it measures, a Cyton resets and says its name, which takes it
    two seconds.  None of them keeps a trace of it.
    """
    ours = _joined(BridgeDecoder(BridgeSettings(sensor="scan")).greeting())
    if line == BRIDGE_LINE:
        contec = contec_v7.ContecV7Decoder(contec_v7.ContecV7Settings(sensor="scan"))
        board = cyton.CytonDecoder(cyton.CytonSettings(sensor="scan"))
        return [ours, _joined(contec.greeting()), _joined(board.greeting())]
    return [] if line in LINES else [ours]  # at another speed there can only be firmware of our own protocol


def _joined(wanted: list[Outgoing]) -> bytes:
    return b"".join(each.data for each in wanted)


def _frames(data: bytes) -> list[Frame]:
    found = FrameDecoder().push(Chunk(data=data, received_at_ns=0))
    return [each for each in found if isinstance(each, Frame)]


def bridge_words(data: bytes) -> str:
    """Return who a device of our own protocol says it is; empty where no hello is among the frames."""
    for frame in _frames(data):
        packet = decode_packet(frame)
        if isinstance(packet, Hello):
            streams = ", ".join(stream.name for stream in packet.streams)
            return f"{packet.model} {packet.firmware}, id {packet.device_id}" + (f": {streams}" if streams else "")
    return ""
