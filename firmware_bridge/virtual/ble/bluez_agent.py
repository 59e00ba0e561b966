"""Pairing agents: who answers when a device wants a passkey or a yes, and what pairing is like without anybody.

As in bluetoothd, a client's own agent answers for its pairings, else the default agent; without either there is no
pairing at all.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from bumble.pairing import PairingConfig, PairingDelegate

from firmware_bridge.virtual.ble.object_server import Call, DbusError, MethodEntry, ObjectServer, Reply

AGENT_MANAGER = "org.bluez.AgentManager1"
AGENT = "org.bluez.Agent1"
_CAPABILITIES = {
    "": PairingDelegate.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
    "DisplayOnly": PairingDelegate.DISPLAY_OUTPUT_ONLY,
    "DisplayYesNo": PairingDelegate.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    "KeyboardOnly": PairingDelegate.KEYBOARD_INPUT_ONLY,
    "NoInputNoOutput": PairingDelegate.NO_OUTPUT_NO_INPUT,
    "KeyboardDisplay": PairingDelegate.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
}
_N_PASSKEYS = 1_000_000


@dataclass(frozen=True, slots=True)
class Agent:
    """One registered agent."""

    client: str
    path: str
    capability: str


class Agents:
    """The agents there are.

    Parameters
    ----------
    server : ObjectServer
        Through which they are called.
    """

    def __init__(self, server: ObjectServer) -> None:
        self._server = server
        self._agents: dict[str, Agent] = {}
        self._default: str | None = None

    def methods(self) -> dict[tuple[str, str], MethodEntry]:
        """Return the methods of AgentManager1."""
        return {
            (AGENT_MANAGER, "RegisterAgent"): MethodEntry("os", "", self._register),
            (AGENT_MANAGER, "UnregisterAgent"): MethodEntry("o", "", self._unregister),
            (AGENT_MANAGER, "RequestDefaultAgent"): MethodEntry("o", "", self._make_default),
        }

    def for_client(self, client: str) -> Agent | None:
        """Return who answers for the pairings of `client`, None if nobody does."""
        return self._agents.get(client) or self._agents.get(self._default or "")

    def client_gone(self, client: str) -> None:
        """Forget the agent of a client that left the bus."""
        self._agents.pop(client, None)
        if self._default == client:
            self._default = next(iter(self._agents), None)

    def pairing(self, agent: Agent | None, device_path: str) -> PairingConfig:
        """Return how to pair with the device at `device_path` while `agent` answers."""
        if agent is None:
            return PairingConfig(mitm=False, delegate=PairingDelegate())
        delegate = _AgentDelegate(self._server, agent, device_path)
        return PairingConfig(mitm=agent.capability != "NoInputNoOutput", delegate=delegate)

    async def _register(self, call: Call) -> Reply | None:
        path, capability = str(call.arguments[0]), str(call.arguments[1])
        if capability not in _CAPABILITIES:
            raise DbusError("InvalidArguments", "Invalid arguments in method call")
        if call.sender in self._agents:
            raise DbusError("AlreadyExists", "Already Exists")
        self._agents[call.sender] = Agent(call.sender, path, capability)
        if self._default is None:
            self._default = call.sender
        return None

    async def _unregister(self, call: Call) -> Reply | None:
        agent = self._agents.get(call.sender)
        if agent is None or agent.path != call.arguments[0]:
            raise DbusError("DoesNotExist", "Does Not Exist")
        self.client_gone(call.sender)
        return None

    async def _make_default(self, call: Call) -> Reply | None:
        if call.sender not in self._agents:
            raise DbusError("DoesNotExist", "Does Not Exist")
        self._default = call.sender
        return None


class _AgentDelegate(PairingDelegate):
    """Asks an agent on the bus what bumble wants to know."""

    def __init__(self, server: ObjectServer, agent: Agent, device_path: str) -> None:
        super().__init__(io_capability=_CAPABILITIES[agent.capability])
        self._server, self._agent, self._device_path = server, agent, device_path

    async def confirm(self, auto: bool = False) -> bool:
        """Just Works: bluetoothd does not ask the side that began."""
        del auto
        return True

    async def compare_numbers(self, number: int, digits: int) -> bool:
        """Ask whether both sides show the same number."""
        del digits
        try:
            await self._ask("RequestConfirmation", "ou", number)
        except DbusError:
            return False
        return True

    async def get_number(self) -> int | None:
        """Ask for the passkey that the device shows."""
        try:
            return int((await self._ask("RequestPasskey", "o"))[0])
        except DbusError:
            return None

    async def display_number(self, number: int, digits: int) -> None:
        """Show the passkey that is to be entered at the device."""
        del digits
        await self._ask("DisplayPasskey", "ouq", number, 0)

    async def generate_passkey(self) -> int:
        """Return a random passkey."""
        return secrets.randbelow(_N_PASSKEYS)

    async def _ask(self, member: str, signature: str, *body: object) -> list[Any]:
        arguments = (self._device_path, *body)
        return await self._server.call(self._agent.client, self._agent.path, AGENT, member, signature, *arguments)
