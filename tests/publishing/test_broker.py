"""The broker that is started where none is configured."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket

import pytest

from edge.errors import PublishError, PublishFault
from edge.publishing.broker import MOSQUITTO, SPOOL_ONLY, start_broker
from edge.publishing.mqtt import Protocol

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="mosquitto is not installed",
)


def test_without_any_broker_there_is_none_and_a_sentence(tmp_path):
    assert asyncio.run(start_broker(tmp_path, kinds=())) is None
    assert "outbox" in SPOOL_ONLY


@needs_mosquitto
def test_a_started_broker_listens_on_the_loopback_alone_and_stops(tmp_path):
    """Ready means ready: the first connection succeeds; after the stop there is none."""

    async def story():
        broker = await start_broker(tmp_path, kinds=(MOSQUITTO,))
        _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.close()
        settings = broker.settings("gw")
        await broker.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", broker.port)
        return settings, broker.is_running, (tmp_path / "mosquitto" / "mosquitto.conf").read_text()

    settings, is_running, config = asyncio.run(story())

    assert (settings.host, settings.protocol, settings.client_id) == ("127.0.0.1", Protocol.V5, "gw")
    assert is_running is False
    assert "listener" in config
    assert all(line.endswith(" 127.0.0.1") for line in config.splitlines() if line.startswith("listener"))


@needs_mosquitto
def test_a_broker_that_cannot_start_says_why(tmp_path):
    """Its port is taken."""

    async def story(port):
        await start_broker(tmp_path, kinds=(MOSQUITTO,), port=port)

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(PublishError, match="mosquitto did not start") as caught:
            asyncio.run(story(sock.getsockname()[1]))

    assert caught.value.reason is PublishFault.UNREACHABLE
