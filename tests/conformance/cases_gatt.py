"""Bluetooth health profiles and the variability from a strap's intervals under the three laws."""

from __future__ import annotations

import numpy as np

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.heart_rate import HeartRate, heart_rate_bytes
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings, profile_plan
from edge.features.device_intervals import DeviceIntervals
from edge.messages import Chunk, RrIntervals
from tests.conformance.case import StageCase

EVERY = ("heart_rate", "oximeter", "thermometer", "blood_pressure", "weight", "glucose", "cgm")
CHANNELS = tuple(dict.fromkeys((*profile_plan(EVERY).subscribe, *profile_plan(EVERY).read)))
SAMPLES = {
    uuids.MODEL: "48 31 30",
    uuids.BATTERY: "09",
    uuids.OXIMETRY_CONTINUOUS: "08 FF 07 FF 07 00 10 00",
    uuids.OXIMETRY_SPOT: "00 5F 00 50 00",
    uuids.TEMPERATURE: "01 DA 03 00 FF",
    uuids.BLOOD_PRESSURE: "15 BD F0 0B 00 9F F0 3C 00 12 00",
    uuids.WEIGHT: "00 B0 36",
    uuids.CURRENT_TIME: "E9 07 03 0E 09 1E 00 05 80 00",
}


def device(rng: np.random.Generator) -> list[Chunk]:
    """A minute of a strap that can do much else, with cut and repeated values; every link sends other records."""
    chunks = []
    for second in range(60):
        channel = list(SAMPLES)[int(rng.integers(len(SAMPLES)))]
        beat = HeartRate(heart_rate_bpm=60, is_contact=rng.random() > 0.1, rr_1024=(int(rng.integers(900, 1100)),))
        sequence = int(rng.integers(0, 1 << 16)).to_bytes(2, "little")
        values = [
            (channel, bytes.fromhex(SAMPLES[channel])),
            (uuids.HEART_RATE, heart_rate_bytes(beat)),
            (uuids.GLUCOSE, b"\x02" + sequence + bytes.fromhex("E8 07 03 0F 0E 1E 2D 78 B0 11")),
        ]
        for name, data in values:
            kept = data[: rng.integers(0, len(data))] if rng.random() < 0.1 else data
            chunks.append(Chunk(data=kept, received_at_ns=second * 1_000_000_000, channel=name))
    return chunks


def hostile_values(rng: np.random.Generator) -> list[Chunk]:
    """Noise of every length from every characteristic and from none, time going anywhere."""
    names = [*CHANNELS, "", "nonsense", uuids.HEART_RATE.upper()]
    return [
        Chunk(
            data=rng.bytes(int(rng.integers(0, 24))),
            received_at_ns=int(rng.integers(-(1 << 62), 1 << 62)),
            channel=names[int(rng.integers(len(names)))],
        )
        for _ in range(2000)
    ]


def strap(rng: np.random.Generator) -> list[RrIntervals]:
    """Six minutes with ectopic beats, a strap taken off, and a minute without a link."""
    out, at_ns = [], 0
    for k in range(400):
        interval_ms = float(800 + 30 * rng.standard_normal())
        if rng.random() < 0.02:
            interval_ms *= 0.6
        at_ns += round(interval_ms * 1e6) + (60_000_000_000 if k == 200 else 0)
        is_worn = not 300 <= k < 303
        out.append(
            RrIntervals(
                sensor="s",
                intervals_ms=(interval_ms,) if is_worn else (),
                received_at_ns=at_ns + int(rng.integers(0, 500_000_000)),
                is_worn=is_worn,
            )
        )
    return out


def hostile_intervals(rng: np.random.Generator) -> list[RrIntervals]:
    """Intervals that are none, endless ones, many at once, time going anywhere."""
    values = [0.0, -1.0, 1e-300, 1e300, np.nan, np.inf, -np.inf, 800.0, 64_000.0]
    return [
        RrIntervals(
            sensor=str(rng.choice(["s", "t"])),
            intervals_ms=tuple(float(value) for value in rng.choice(values, size=int(rng.integers(0, 12)))),
            received_at_ns=int(rng.integers(-(1 << 62), 1 << 62)) >> int(rng.choice([0, 28])),
            is_worn=[None, True, False][int(rng.integers(3))],
        )
        for _ in range(500)
    ]


CASES = [
    StageCase(
        name="profiles",
        make=lambda: ProfileDecoder(ProfileSettings(sensor="s", profiles=EVERY)),
        stream=device,
        hostile=hostile_values,
        resplit=None,
    ),
    StageCase(
        name="device-intervals",
        make=DeviceIntervals,
        stream=strap,
        hostile=hostile_intervals,
        resplit=None,
    ),
]
