"""Virtual Bluetooth sensors, and two ways for a program to meet them without any radio.

::

    scenario ─▶ body (one virtual patient) ─▶ services, polar, uart ─▶ wearable (a bumble peripheral)
                                                                          │ radio (virtual air) or a real dongle
                                           ┌──────────────────────────────┴──────────────┐
                                   backend (bleak on bumble)            emulated_bluez (org.bluez on a private bus)

Start with `wearable.Wearable` for one sensor, with `emulated_bluez.EmulatedBluez` for programs that only know BlueZ, and
with `backend.make_backend` for bleak without D-Bus.  Needs the extra ``simulate`` (bumble, dbus-fast); nothing here is
part of the runtime.
"""
