"""A byte stream over Bluetooth: the Nordic UART service, which most boards offer and no standard body assigned.

Pure.  Our own frames (``firmware_bridge/PROTOCOL.md``) travel in it as on a serial line, cut anywhere.

References
----------
.. [1] Nordic Semiconductor, "Nordic UART Service (NUS)", nRF Connect SDK documentation: RX is what the central
   writes, TX what the peripheral notifies.
"""

from __future__ import annotations

from edge.acquisition.gatt.plan import GattPlan

SERVICE = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
RX = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
"""Written by us."""
TX = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
"""Notified to us."""

NORDIC_UART = GattPlan(services=(SERVICE,), subscribe=(TX,), required=(RX, TX), write_to=RX)
"""How a sensor that offers it is used."""
