"""The Bluetooth radios of this machine: each made once, when the first sensor needs it, and shared by all of them."""

from __future__ import annotations

from collections.abc import Callable

from edge.acquisition.ble import BleAdapter
from edge.clock import Clock


class Bluetooth:
    """Gives every sensor its adapter.

    Parameters
    ----------
    clock : Clock
        All limits and ages.
    make_adapter : callable, optional
        Gives the adapter of a name (None for the first); simulations hand in radios of their own.
    """

    def __init__(self, clock: Clock, make_adapter: Callable[[str | None], BleAdapter] | None = None) -> None:
        self._make_adapter = make_adapter or (lambda name: BleAdapter(clock, adapter=name))
        self._adapters: dict[str | None, BleAdapter] = {}

    def adapter(self, name: str | None = None) -> BleAdapter:
        """Return the adapter of that name, the same one every time."""
        if name not in self._adapters:
            self._adapters[name] = self._make_adapter(name)
        return self._adapters[name]

    async def close(self) -> None:
        """Let go of all of them, after the last link was closed."""
        for adapter in self._adapters.values():
            await adapter.close()
        self._adapters.clear()
