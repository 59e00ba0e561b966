"""A virtual patient and a virtual sensor, for those without hardware.

::

    scenario_file ─▶ scenario ─▶ patient ── rhythm, ecg, pulse, respiration, motion ─▶ signals and truth
                        │            │ (or playback of a recording)
                        ▼            ▼
                     faults ─▶ device ── stream_sender, readings, converter ─▶ line ─▶ serial_link (a pty)

Start with `patient.VirtualPatient` for signals with known beats, with `device.VirtualSensor` for the bytes of a sensor, and
with `serial_link.serve` for a port that any program can open.  Nothing here is part of the runtime.
"""
