"""The screen of one bed while the service runs: ``vitaledge run --screen``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge.app import Bed, Runtime
from edge.clock import NS_PER_S, Clock
from edge.delivery import Delivery
from edge.viewing.bed import BedState
from edge.viewing.gateway import GatewayView

Show = Callable[[BedState, GatewayView], None]

_PERIOD_S = 0.5
"""Twice a second: a person sees a beat of the heart rate, and the processor does not notice."""


def gateway_view(runtime: Runtime, bed: Bed, delivery: Delivery, clock_s: float) -> GatewayView:
    """Return what stands around one bed at this moment.

    Parameters
    ----------
    runtime : Runtime
        The service.
    bed : Bed
        The person whose screen it is.
    delivery : Delivery
        Outbox and connection.
    clock_s : float
        Seconds since the service started.
    """
    view = delivery.view()
    return GatewayView(
        title=f"VitalEdge, {bed.name}",
        clock_s=clock_s,
        broker=view.broker,
        is_connected=view.uplink is not None and view.uplink.is_connected,
        n_waiting=view.n_waiting,
        n_sent=view.n_confirmed,
        n_corrupt=bed.n_corrupt,
        n_lost_samples=bed.n_lost_samples,
        model=runtime.models.status,
    )


async def keep_screen(runtime: Runtime, delivery: Delivery, clock: Clock, show: Show) -> None:
    """Show the first bed until cancelled."""
    bed, started_ns = runtime.all_beds()[0], clock.monotonic_ns()
    while True:
        show(bed.state, gateway_view(runtime, bed, delivery, (clock.monotonic_ns() - started_ns) / NS_PER_S))
        await clock.sleep(_PERIOD_S)


async def run_with_screen(runtime: Runtime, delivery: Delivery, clock: Clock, stop: asyncio.Event, show: Show) -> None:
    """Run the service until `stop`, with its screen."""
    async with asyncio.TaskGroup() as tasks:
        screen = tasks.create_task(keep_screen(runtime, delivery, clock, show), name="screen")
        await runtime.run(stop)
        screen.cancel()
