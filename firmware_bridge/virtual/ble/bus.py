"""A private D-Bus daemon, so that a program may own ``org.bluez`` without being root and without any Bluetooth."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_READY_S = 10.0
_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"""
# Without the receive rules a bus of type "system" throws replies away and every call hangs until its timeout.


class BusUnavailableError(RuntimeError):
    """There is no ``dbus-daemon``, or it does not start."""


def has_daemon() -> bool:
    """Whether ``dbus-daemon`` is installed."""
    return shutil.which("dbus-daemon") is not None


class PrivateBus:
    """A message bus for one program and its clients; a context manager.

    Raises
    ------
    BusUnavailableError
        On entering, if there is no ``dbus-daemon`` or it ends at once.
    """

    def __init__(self) -> None:
        self.address = ""
        """For ``DBUS_SYSTEM_BUS_ADDRESS``; empty before it is entered."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = shutil.which("dbus-daemon")
        if program is None:
            raise BusUnavailableError("dbus-daemon is not installed")
        self._folder = tempfile.TemporaryDirectory(prefix="vitaledge-bus-")
        folder = Path(self._folder.name)
        configuration = folder / "bus.conf"
        configuration.write_text(_CONFIGURATION.format(socket=folder / "bus"))
        out, into = os.pipe()
        try:
            self._daemon = subprocess.Popen(
                [program, f"--config-file={configuration}", "--nofork", f"--print-address={into}"],
                pass_fds=[into],
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the program, which takes its daemon along in order
            )
        finally:
            os.close(into)
        with os.fdopen(out) as told:
            self.address = told.readline().strip()
        if not self.address:
            assert self._daemon.stderr is not None
            why = self._daemon.stderr.read().decode(errors="replace").strip()
            self.__exit__(None, None, None)
            raise BusUnavailableError(f"dbus-daemon does not start: {why}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(_READY_S)
            if self._daemon.stderr is not None:
                self._daemon.stderr.close()
            self._daemon = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self.address = ""
