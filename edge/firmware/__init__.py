"""Whether a board keeps to ``firmware_bridge/PROTOCOL.md``: what ``vitaledge firmware check`` listens for and asks."""
