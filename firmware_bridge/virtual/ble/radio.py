"""The air between virtual Bluetooth devices: an in-process link, and controllers that fail the way real ones do.

bumble's own virtual controller answers a cancelled connection attempt with silence and keeps its links through an HCI
reset.  A host that waits for either would hang for ever, so `AirController` acts as the Bluetooth Core Specification
5.4 has it (volume 4 part E, 7.3.2 and 7.8.13).  It also sends scan responses of its own, which bumble repeats from the
advertisement, and it can lose a link as if somebody had walked away.
"""

from __future__ import annotations

from typing import cast

from bumble import hci, ll
from bumble.controller import Connection as ControllerConnection
from bumble.controller import Controller
from bumble.device import Device, DeviceConfiguration
from bumble.hci import Address
from bumble.keys import MemoryKeyStore
from bumble.link import LocalLink
from bumble.transport.common import TransportSink, TransportSource

DEFAULT_RSSI_DBM = -58
ADVERTISING_INTERVAL_MS = 100.0


class AirController(Controller):
    """A Bluetooth LE controller on a `VirtualAir`, without the extended advertising that few wearables have."""

    le_features = Controller.le_features & ~(
        hci.LeFeatureMask.LE_EXTENDED_ADVERTISING | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
    )
    # Data Length Extension: one notification of 244 bytes is one packet, as on every controller since Bluetooth 4.2.
    le_acl_data_packet_length = 251
    rssi_dbm = DEFAULT_RSSI_DBM

    def on_advertising_pdu(self, pdu: ll.AdvInd | ll.AdvExtInd) -> None:
        """Report what is heard, with the scan response of its sender, and connect where that was asked for."""
        sender = self._advertiser_at(pdu.advertiser_address)
        if sender is None:  # went silent while this was in the air
            return
        if self.le_scan_enable:
            kinds = hci.HCI_LE_Advertising_Report_Event.EventType
            self._report(kinds.ADV_IND, pdu, pdu.data, sender.rssi_dbm)
            if self.le_scan_type == hci.HCI_LE_Set_Scan_Parameters_Command.ACTIVE_SCANNING:
                self._report(kinds.SCAN_RSP, pdu, sender.le_legacy_advertiser.scan_response_data, sender.rssi_dbm)
        wanted = self.pending_le_connection
        if wanted is not None and wanted.peer_address == pdu.advertiser_address:
            self.create_le_connection(pdu.advertiser_address)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Give up connecting; the host learns it with the event that would have said that it is connected."""
        wanted = self.pending_le_connection
        if wanted is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        self.pending_le_connection = None
        self.send_hci_packet(
            hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=wanted.peer_address.address_type,
                peer_address=wanted.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            )
        )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_reset_command(self, command: hci.HCI_Reset_Command) -> hci.HCI_StatusReturnParameters:
        """Forget everything; peers notice that their link has gone quiet."""
        self.silence()
        return super().on_hci_reset_command(command)

    def silence(self) -> None:
        """Stop sending and hearing: no advertising, no scan, every link lost."""
        self.le_legacy_advertiser.stop()
        self.le_scan_enable = False
        self.pending_le_connection = None
        for connection in list(self.le_connections.values()):
            self.lose(connection)

    def lose(self, connection: ControllerConnection) -> None:
        """End a link the way distance does: both ends give up after their supervision timeout (here at once)."""
        far = self.link.find_le_controller(connection.peer_address)
        if far is not None:
            for theirs in [
                each for each in far.le_connections.values() if each.peer_address == connection.self_address
            ]:
                far.on_le_disconnected(theirs, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
        if connection.peer_address in self.le_connections:
            self.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def _advertiser_at(self, address: Address) -> AirController | None:
        for each in self.link.controllers:
            if isinstance(each, AirController) and each.le_legacy_advertiser.enabled and each.random_address == address:
                return each
        return None

    def _report(self, kind: int, pdu: ll.AdvInd | ll.AdvExtInd, data: bytes, rssi_dbm: int) -> None:
        report = hci.HCI_LE_Advertising_Report_Event.Report(
            event_type=kind,
            address_type=pdu.advertiser_address.address_type,
            address=pdu.advertiser_address,
            data=data,
            rssi=rssi_dbm,
        )
        self.send_hci_packet(hci.HCI_LE_Advertising_Report_Event([report]))


class VirtualAir:
    """One room: every device made here hears every other one that is in range."""

    def __init__(self) -> None:
        self.link = LocalLink()  # type: ignore[no-untyped-call]

    def controller(self, name: str) -> AirController:
        """Return a new controller in this room."""
        return AirController(name, link=self.link)

    def device(self, name: str, address: str) -> Device:
        """Return a bumble host with a controller of its own in this room, not powered yet."""
        controller = self.controller(name)
        # bumble's controller is both ends of a transport, without saying so in its types.
        return host_device(name, address, cast("TransportSource", controller), controller)


def host_device(name: str, address: str, source: TransportSource, sink: TransportSink) -> Device:
    """Return a bumble host on any HCI transport, virtual or real, that keeps its bonds in memory."""
    device = Device.from_config_with_hci(
        DeviceConfiguration(
            name=name,
            address=Address(address),
            advertising_interval_min=ADVERTISING_INTERVAL_MS,
            advertising_interval_max=ADVERTISING_INTERVAL_MS,
        ),
        source,
        sink,
    )
    device.keystore = MemoryKeyStore()
    return device
