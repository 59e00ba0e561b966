"""The service's half of `links_file`: what each link is doing, written on every change and every ten seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from edge.clock import NS_PER_S, Clock
from edge.drivers import AttachedSensor, link_words, max_silence_s
from edge.links_file import LinksFileError, LinkView, StreamView, links_path, write_links

if TYPE_CHECKING:  # the composition root imports this module
    from edge.app import Bed, Runtime

_log = logging.getLogger(__name__)

_LOOK_S = 2.0
"""How often the links are looked at; a change is written at once."""
_PERIOD_S = 10.0
"""How often the file is written when nothing changed: a third of the age at which it counts as nobody's, and 35 MB a
day of 4 kB pages on a card, where writing at every look would be 177 MB."""


def link_view(sensor: AttachedSensor, bed: Bed, clock: Clock) -> LinkView:
    """Return what one sensor's link is doing now.

    Parameters
    ----------
    sensor : AttachedSensor
        Whose link.
    bed : Bed
        Where its data goes: knows its identity, its battery and the true rates of its streams.
    clock : Clock
        Now.
    """
    section, link, counters = sensor.section, sensor.link, sensor.link.counters
    decoded = sensor.decoder.counters
    now_ns, change = clock.monotonic_ns(), link.link
    identity = bed.identities.get(section.id)
    clocks = bed.clocks()
    streams = () if identity is None else identity.streams
    return LinkView(
        id=section.id,
        driver=section.driver,
        link=link_words(section),
        state="not started" if change is None else change.state.value,
        reason="" if change is None else change.reason,
        in_state_s=0.0 if change is None else (now_ns - change.at_ns) / NS_PER_S,
        max_silence_s=max_silence_s(section),
        data_age_s=None if link.data_at_ns is None else (now_ns - link.data_at_ns) / NS_PER_S,
        is_late=link.is_late,
        n_connects=counters.n_connects,
        n_failures=counters.n_failures,
        n_lates=counters.n_lates,
        n_silences=counters.n_silences,
        n_remedies=counters.n_remedies,
        n_lost_samples=decoded.n_lost_samples,
        n_dropped_bytes=counters.n_dropped_bytes,
        n_corrupt=counters.n_corrupt,
        battery_pct=bed.batteries_pct.get(section.id),
        streams=tuple(
            StreamView(
                name=stream.name,
                nominal_rate_hz=stream.nominal_rate_hz,
                true_rate_hz=None if estimate is None else estimate.true_rate_hz,
                drift_ppm=None if estimate is None else estimate.drift_ppm,
            )
            for stream in streams
            for estimate in (clocks.get((section.id, stream.name)),)
        ),
    )


async def keep_links(runtime: Runtime, outbox: Path, clock: Clock) -> None:
    """Write the file until cancelled, and remove it then: nobody keeps it any more.

    A file that cannot be written is said once and tried again.
    """
    path, has_failed = links_path(outbox), False
    written_at_ns: int | None = None
    told: list[tuple[str, str]] = []
    try:
        while True:
            views = [link_view(sensor, runtime.bed_of(sensor.section.id), clock) for sensor in runtime.sensors]
            states, now_ns = [(view.state, view.reason) for view in views], clock.monotonic_ns()
            if written_at_ns is None or now_ns - written_at_ns >= _PERIOD_S * NS_PER_S or states != told:
                written_at_ns, told = now_ns, states
                try:
                    await asyncio.to_thread(write_links, path, views, clock.wall_ns())
                    has_failed = False
                except LinksFileError as error:
                    if not has_failed:
                        _log.warning("links.not_written error=%s", error)
                    has_failed = True
            await clock.sleep(_LOOK_S)
    finally:
        with contextlib.suppress(OSError):  # what cannot be removed is told by its age
            path.unlink(missing_ok=True)
