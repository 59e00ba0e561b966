"""The topic tree of the contract: ``{root}/v1/{site}/{gateway}/...``, lower case letters, digits and dashes only.

No patient, bed or staff identifier stands in a topic; whom a message concerns is in its body.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_SEGMENT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_OTHER = re.compile(r"[^a-z0-9]+")
_UNIT_SUFFIX = re.compile(r"_(kg_m2|mmol_l|kg|kj|m|bpm|rpm|per_min|pct|c|ms|s|mmhg|mv|ratio|n)$")


def segment(name: str) -> str:
    """Return `name` if it may stand in a topic as it is.

    Raises
    ------
    ValueError
        If it is anything but ``[a-z0-9-]``, or begins or ends with a dash.
    """
    if not _SEGMENT.fullmatch(name):
        raise ValueError(f"expected a topic segment of [a-z0-9-], got {name!r}")
    return name


def slug(name: str) -> str:
    """Return `name` in the letters of a topic; names that differ in other letters only are told apart by a checksum.

    Examples
    --------
    >>> slug("chest")
    'chest'
    >>> slug("link-lost:chest")
    'link-lost-chest-bf6d98d3'
    """
    if _SEGMENT.fullmatch(name):
        return name
    plain = _OTHER.sub("-", name.lower()).strip("-")
    return f"{plain}-{zlib.crc32(name.encode()):08x}".lstrip("-")


def measure_segment(measure: str) -> str:
    """Return the topic segment of a measure: its name without the unit.

    Examples
    --------
    >>> measure_segment("heart_rate_bpm"), measure_segment("spo2_pct"), measure_segment("body_temperature_c")
    ('heart-rate', 'spo2', 'body-temperature')
    """
    return slug(_UNIT_SUFFIX.sub("", measure).replace("_", "-"))


def period_segment(duration_s: float) -> str:
    """Return the shortest name of a period, such as ``1m``, ``90s`` or ``1h``.

    Raises
    ------
    ValueError
        If it is shorter than a second.
    """
    seconds = round(duration_s)
    if seconds < 1:
        raise ValueError(f"expected a period of at least one second, got {duration_s}")
    for unit_s, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % unit_s == 0:
            return f"{seconds // unit_s}{letter}"
    return f"{seconds}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """All topics of one gateway.

    Raises
    ------
    ValueError
        If `root`, `site` or `gateway` may not stand in a topic.
    """

    root: str
    site: str
    gateway: str

    def __post_init__(self) -> None:
        for part in (*self.root.split("/"), self.site, self.gateway):
            segment(part)

    @property
    def prefix(self) -> str:
        """What every topic of this gateway begins with, ``{root}/v1/{site}/{gateway}``."""
        return f"{self.root}/v1/{self.site}/{self.gateway}"

    def of(self, *path: str) -> str:
        """Return the topic below the prefix; every part must be a segment already."""
        return "/".join((self.prefix, *(part if part == "$state" else segment(part) for part in path)))

    @property
    def state(self) -> str:
        """Presence of the gateway, also its last will."""
        return self.of("$state")

    @property
    def birth(self) -> str:
        """What the gateway is made of, published on every connect."""
        return self.of("birth")

    @property
    def health(self) -> str:
        """Figures of the runtime."""
        return self.of("health")

    @property
    def gap(self) -> str:
        """Ranges that are lost."""
        return self.of("gap")

    @property
    def alert_log(self) -> str:
        """Every transition of every alert."""
        return self.of("alert", "log")

    def alert(self, alert_id: str) -> str:
        """Return the topic of the current state of one alert."""
        name = slug(alert_id)
        return self.of("alert", f"{name}-id" if name == "log" else name)

    def reading(self, measure: str) -> str:
        """Return the topic of one measure."""
        return self.of("reading", measure_segment(measure))

    def summary(self, period_s: float) -> str:
        """Return the topic of the summaries of one length."""
        return self.of("summary", period_segment(period_s))

    def sensor_status(self, sensor: str) -> str:
        """Return the topic of the state of one sensor's link."""
        return self.of("sensor", slug(sensor), "status")
