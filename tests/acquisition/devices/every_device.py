"""A stretch of frames of every serial device, for what must hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.acquisition.devices import contec_5byte, contec_v7, cyton, nonin, openview
from firmware_bridge.virtual.devices.boards import cyton_frame, healthypi_5_payload, openview_frame
from firmware_bridge.virtual.devices.oximeters import contec_5byte_frame, contec_v7_packet, nonin_data, nonin_frame


@dataclass(frozen=True)
class Device:
    """One device: its module, a fresh decoder, and its frame number k."""

    name: str
    module: Any
    make: Callable[[], Any]
    frame: Callable[[int], bytes]
    rate_hz: float
    stream: str

    def frames(self, n_frames: int, first: int = 0) -> list[bytes]:
        return [self.frame(k) for k in range(first, first + n_frames)]


def _contec_5byte(k: int) -> bytes:
    return contec_5byte_frame(pleth=k % 128, pulse_rate_bpm=60 + k // 60 % 40, spo2_pct=97)


def _contec_v7(k: int) -> bytes:
    return contec_v7_packet(0x01, bytes((5, k % 128, 0x16, 60 + k // 60 % 40, 97, 255, 255)))


def _nonin(data_format: int) -> Callable[[int], bytes]:
    def frame(k: int) -> bytes:
        place = k % 25
        data = nonin_data(60 + k // 75 % 40, 97)[place]
        return nonin_frame(0x80 | (place == 0), k % 256, data, data_format=data_format)

    return frame


def _openview(k: int) -> bytes:
    payload = healthypi_5_payload(
        ecg=300 + k % 50,
        bioz=5000 + k,
        red=100_000 + k,
        infrared=120_000 + k,
        temperature_c=36.7,
        spo2_pct=97,
        heart_rate_bpm=60 + k // 128 % 40,
        respiratory_rate_bpm=15,
    )
    return openview_frame(payload)


def _cyton(k: int) -> bytes:
    return cyton_frame(k, tuple(k * channel for channel in range(1, 9)), (1, 2, 8000) if k % 10 == 0 else (0, 0, 0))


DEVICES = (
    Device(
        "contec_cms50",
        contec_5byte,
        lambda: contec_5byte.Contec5ByteDecoder(contec_5byte.Contec5ByteSettings(sensor="s")),
        _contec_5byte,
        60.0,
        "pleth",
    ),
    Device(
        "contec_cms50_v7",
        contec_v7,
        lambda: contec_v7.ContecV7Decoder(contec_v7.ContecV7Settings(sensor="s")),
        _contec_v7,
        60.0,
        "pleth",
    ),
    Device("nonin_2", nonin, lambda: nonin.NoninDecoder(nonin.NoninSettings(sensor="s")), _nonin(2), 75.0, "pleth"),
    Device("nonin_7", nonin, lambda: nonin.NoninDecoder(nonin.NoninSettings(sensor="s")), _nonin(7), 75.0, "pleth"),
    Device(
        "openview",
        openview,
        lambda: openview.OpenViewDecoder(openview.OpenViewSettings(sensor="s")),
        _openview,
        128.0,
        "ecg",
    ),
    Device("cyton", cyton, lambda: cyton.CytonDecoder(cyton.CytonSettings(sensor="s")), _cyton, 250.0, "ecg"),
)
