"""A virtual patient and a virtual sensor, for those without hardware.

::

    scenario_file ─▶ scenario ─▶ patient ── rhythm, ecg (waves), pulse, respiration, motion ─▶ signals and truth
                        │            │ (or playback of a recording)
                        ▼            ▼
                     faults ─▶ device ── stream_sender, readings, converter ─▶ line ─▶ serial_link (a pty)

Start with `patient.VirtualPatient` for signals with known beats, with `device.VirtualSensor` for the bytes of a sensor, and
with `serial_link.serve` for a port that any program can open; the folder `ble` has virtual Bluetooth wearables and a
BlueZ to meet them.  `truth` is what a detector can be judged by;
`monitor_waveforms` makes the test signals of the cardiac-monitor standards, `noise_stress` mixes recorded noise into a
recording.  Nothing here is part of the runtime.
"""
