"""The C library of the firmware as Python sees it: built once with the compiler there is, loaded with ctypes."""

from __future__ import annotations

import ctypes as c
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import firmware_bridge

FOLDER = Path(firmware_bridge.__path__[0])
C_FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pedantic", "-O2"]
OK, MORE, FULL, EMPTY, BAD_ARGUMENT = range(5)
REASONS = {5: "cobs", 6: "short", 7: "crc", 8: "overlong", 9: "truncated"}

u8, u16, u32, size, boolean, text = c.c_uint8, c.c_uint16, c.c_uint32, c.c_size_t, c.c_bool, c.c_char_p
bytes_at = c.POINTER(c.c_uint8)


class Channel(c.Structure):
    _fields_ = (
        ("name", text), ("kind_code", u8), ("unit_code", u8), ("resolution_bits", u8), ("gain_numerator", c.c_int32),
        ("gain_denominator", u32), ("offset_counts", c.c_int32), ("minimum_counts", c.c_int32),
        ("maximum_counts", c.c_int32),
    )  # fmt: skip


class Stream(c.Structure):
    _fields_ = (
        ("name", text), ("channels", c.POINTER(Channel)), ("n_channels", u8), ("stream_id", u8),
        ("is_running", boolean), ("rate_mhz", u32),
    )  # fmt: skip


class Hello(c.Structure):
    _fields_ = (
        ("boot_id", u32), ("tick_rate_hz", u32), ("ticks", u32), ("device_id", text), ("model", text),
        ("firmware", text), ("streams", c.POINTER(Stream)), ("n_streams", u8),
    )  # fmt: skip


class Samples(c.Structure):
    _fields_ = (
        ("sequence", u32), ("ticks", u32), ("n_samples", u16), ("stream_id", u8), ("n_channels", u8),
        ("bytes_per_value", u8), ("is_backfill", boolean),
    )  # fmt: skip


class Reading(c.Structure):
    _fields_ = (
        ("ticks", u32), ("measure_code", u32), ("mantissa", c.c_int32), ("exponent", c.c_int8), ("status_code", u8),
        ("absent_code", u8), ("valid_for_s", u16),
    )  # fmt: skip


class Event(c.Structure):
    _fields_ = (
        ("ticks", u32), ("value", c.c_int32), ("text", text), ("condition_code", u16), ("stream_id", u8),
        ("is_active", boolean),
    )  # fmt: skip


class TimeResponse(c.Structure):
    _fields_ = (("host_ns", u8 * 8), ("received_ticks", u32), ("sent_ticks", u32))


class CommandAck(c.Structure):
    _fields_ = (("value", u32), ("command_id", u16), ("code", u8), ("result_code", u8))


class Command(c.Structure):
    _fields_ = (("argument", u32), ("count", u32), ("command_id", u16), ("code", u8), ("stream_id", u8))


class Frame(c.Structure):
    _fields_ = (("version", u8), ("type", u8), ("sequence", u16), ("payload", bytes_at), ("n_payload", size))


class StoreBlock(c.Structure):
    _fields_ = (("sequence", u32), ("ticks", u32), ("last_ticks", u32), ("n_samples", u16))


class StoreFound(c.Structure):
    _fields_ = (("sequence", u32), ("ticks", u32), ("n_samples", u16), ("at", u32))


WRITE = c.CFUNCTYPE(c.c_int, c.c_void_p, bytes_at, size)
TICKS = c.CFUNCTYPE(u32, c.c_void_p)
CHOOSE_RATE = c.CFUNCTYPE(u32, c.c_void_p, size, u32)
USE_RATE = c.CFUNCTYPE(None, c.c_void_p, size, u32)
RUN = c.CFUNCTYPE(None, c.c_void_p, size, boolean)


class Board(c.Structure):
    _fields_ = (
        ("write", WRITE), ("ticks", TICKS), ("choose_rate", CHOOSE_RATE), ("use_rate", USE_RATE), ("run", RUN),
        ("context", c.c_void_p),
    )  # fmt: skip


class DeviceStream(c.Structure):
    _fields_ = (
        ("block", bytes_at), ("block_samples", u16), ("bytes_per_value", u8), ("store", c.c_void_p),
        ("stores_only_unsent", boolean), ("n_unsent_samples", u32), ("n_collected", u16), ("sequence", u32),
        ("ticks", u32), ("last_ticks", u32), ("has_new_rate", boolean),
    )  # fmt: skip


class DeviceConfig(c.Structure):
    _fields_ = (
        ("board", Board), ("boot_id", u32), ("tick_rate_hz", u32), ("device_id", text), ("model", text),
        ("firmware", text), ("streams", c.POINTER(Stream)), ("stream_states", c.POINTER(DeviceStream)),
        ("n_streams", u8), ("send_buffer", bytes_at), ("send_bytes", size), ("receive_buffer", bytes_at),
        ("receive_bytes", size), ("hello_interval_ticks", u32), ("backfill_interval_ticks", u32),
    )  # fmt: skip


@functools.cache
def loaded() -> c.CDLL:
    """Build the library as a shared object; the test is skipped where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler named cc, gcc or clang")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "library.so"
        sources = [*sorted((FOLDER / "src").glob("*.c")), FOLDER / "tests" / "shim.c"]
        command = [compiler, *C_FLAGS, "-shared", "-fPIC", "-pthread", f"-I{FOLDER / 'include'}", *sources, "-o", made]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        loaded = c.CDLL(str(made))
    for name in ("writer", "reader", "store", "device"):
        getattr(loaded, f"shim_{name}_bytes").restype = size
    loaded.fb_crc32_iso_hdlc.restype = u32
    loaded.fb_crc32_iso_hdlc.argtypes = (c.c_char_p, size)
    loaded.shim_ring_race.restype = u32
    return loaded


def array(data: bytes) -> c.Array[u8]:
    """Return `data` where C can read it."""
    return (u8 * max(1, len(data))).from_buffer_copy(data or b"\x00")


class Writer:
    """A frame writer into memory."""

    def __init__(self, capacity: int = 1023) -> None:
        self._library = loaded()
        self._line = (u8 * max(1, capacity))()
        self._state = c.create_string_buffer(self._library.shim_writer_bytes())
        status = self._library.fb_frame_writer_init(self._state, self._line, size(capacity), None, None)
        assert status == OK

    def write(self, function: str, sequence: int, *arguments: object) -> bytes | int:
        """Return what ``fb_packet_write_<function>`` put on the line, or its status where it failed."""
        length = size()
        call = getattr(self._library, f"fb_packet_write_{function}")
        status = call(self._state, u16(sequence), *arguments, c.byref(length))
        return bytes(self._line[: length.value]) if status == OK else status

    def frame(self, packet_type: int, sequence: int, payload: bytes) -> bytes | int:
        """Return a frame around any payload, or the status where it failed."""
        length = size()
        self._library.fb_frame_begin(self._state, u8(packet_type), u16(sequence))
        self._library.fb_frame_append(self._state, array(payload), size(len(payload)))
        status = self._library.fb_frame_end(self._state, c.byref(length))
        return bytes(self._line[: length.value]) if status == OK else status


class Reader:
    """A frame reader; `push` gives frames as (version, type, sequence, payload) and reasons of what it dropped."""

    def __init__(self, capacity: int = 1016) -> None:
        self._library = loaded()
        self._plain = (u8 * capacity)()
        self._state = c.create_string_buffer(self._library.shim_reader_bytes())
        assert self._library.fb_frame_reader_init(self._state, self._plain, size(capacity)) == OK

    def push(self, data: bytes) -> list[tuple[int, int, int, bytes] | str]:
        out: list[tuple[int, int, int, bytes] | str] = []
        frame = Frame()
        push, state, at = self._library.fb_frame_reader_push, self._state, c.byref(frame)
        for byte in data:
            status = push(state, byte, at)
            if status == OK:
                payload = bytes(frame.payload[: frame.n_payload])
                out.append((frame.version, frame.type, frame.sequence, payload))
            elif status != MORE:
                out.append(REASONS[status])
        return out

    def reset(self) -> str | None:
        return REASONS.get(self._library.fb_frame_reader_reset(self._state))
