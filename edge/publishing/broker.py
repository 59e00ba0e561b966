"""A broker for the demo and for a single bed, where none is configured.

In this order: ``mosquitto`` on the machine, with a configuration made here; ``nats-server`` from the optional
wheel (extra ``broker``); none, and everything stays in the outbox.  Both listen on the loopback alone.  A pure
Python broker is not among them: the one tried failed eight conformance checks, losing its queue among them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import PublishError, PublishFault
from edge.publishing.mqtt import MqttSettings, Protocol

_log = logging.getLogger(__name__)

SPOOL_ONLY = (
    "No MQTT broker is configured and none is installed: everything is kept in the outbox. "
    "Install mosquitto, or VitalEdge with the extra [broker], or configure [mqtt] host."
)
"""What to tell the operator when `start_broker` returns None."""
_SBIN = "/usr/sbin:/usr/local/sbin"
_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 3.0

# PUBACK is sent before the file is saved, so one message is at risk when the broker is killed; without
# autosave_on_changes it would be those of the last second, with Debian's default those of half an hour.
_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
user {user}
persistence true
persistence_location {directory}/
autosave_interval 1
autosave_on_changes true
max_queued_messages 100000
set_tcp_nodelay true
log_dest stderr
"""

_NATS = """\
server_name: vitaledge
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{directory}", sync_interval: always }}
mqtt {{ listen: "127.0.0.1:{port}" }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How one broker is configured and started."""

    name: str
    protocol: Protocol
    template: str
    ready: bytes
    """What its log says once it listens."""
    arguments: Callable[[str], list[str]]


MOSQUITTO = _Kind(
    name="mosquitto",
    protocol=Protocol.V5,
    template=_MOSQUITTO,
    ready=b" running",
    arguments=lambda config: ["-c", config],
)
NATS = _Kind(
    name="nats-server",
    protocol=Protocol.V311,
    template=_NATS,
    ready=b"Server is ready",
    arguments=lambda config: ["-c", config],
)


class BrokerHandle:
    """A broker that runs as our child until `stop`."""

    def __init__(self, kind: _Kind, process: asyncio.subprocess.Process, port: int) -> None:
        self.name = kind.name
        self.host = "127.0.0.1"
        self.port = port
        self.protocol = kind.protocol
        self._process = process
        self._drain = asyncio.create_task(self._drained(), name=f"{kind.name}-log")

    @property
    def pid(self) -> int:
        """Process identifier."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process still lives."""
        return self._process.returncode is None

    def settings(self, client_id: str) -> MqttSettings:
        """Return how to connect to it as `client_id`."""
        return MqttSettings(host=self.host, port=self.port, protocol=self.protocol, client_id=client_id)

    async def stop(self) -> None:
        """End the broker in order, so that it saves its sessions; by force if it does not within seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._drain

    async def _drained(self) -> None:
        """Read the broker's log to its end: a full pipe would stop the broker."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            _log.debug("broker.log %s", line.decode(errors="replace").rstrip())


async def start_broker(
    directory: Path, *, kinds: tuple[_Kind, ...] = (MOSQUITTO, NATS), port: int | None = None
) -> BrokerHandle | None:
    """Return the first broker that is installed, ready for clients; None if there is none (say `SPOOL_ONLY`).

    Parameters
    ----------
    directory : Path
        Where it keeps its configuration and its sessions; made if missing.
    kinds : tuple
        Which to try, in order.
    port : int, optional
        TCP port on the loopback; a free one if not given.

    Raises
    ------
    PublishError
        If one is installed but does not start.
    """
    for kind in kinds:
        program = _program(kind.name)
        if program is not None:
            return await _started(kind, program, directory / kind.name, port or _free_port())
    return None


async def _started(kind: _Kind, program: str, directory: Path, port: int) -> BrokerHandle:
    config = _configured(kind, directory, port)
    process = await asyncio.create_subprocess_exec(
        program,
        *kind.arguments(str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is for us, who then stop the broker last
    )
    said: list[str] = []
    assert process.stderr is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_TIMEOUT_S):
            async for line in process.stderr:
                said.append(line.decode(errors="replace").rstrip())
                if kind.ready in line:
                    _log.info("broker.started name=%s port=%d pid=%d", kind.name, port, process.pid)
                    return BrokerHandle(kind, process, port)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    last = said[-1] if said else "it said nothing"
    raise PublishError(
        f"{kind.name} did not start: {last}", reason=PublishFault.UNREACHABLE, hint="see whether its port is taken"
    )


def _configured(kind: _Kind, directory: Path, port: int) -> Path:
    """Write the broker's configuration and return where it is."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / f"{kind.name}.conf"
    # Started by root, mosquitto would become another user, who may not write here.
    user = pwd.getpwuid(os.geteuid()).pw_name
    config.write_text(kind.template.format(port=port, directory=directory, user=user))
    return config


def _program(name: str) -> str | None:
    """Return the path of `name`: beside our Python (a wheel), on PATH, or where system daemons are."""
    beside = Path(sys.executable).parent
    return shutil.which(name, path=str(beside)) or shutil.which(name) or shutil.which(name, path=_SBIN)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
