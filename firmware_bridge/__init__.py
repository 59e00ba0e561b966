"""The sensor's half of the wire: protocol, golden vectors, virtual patient and sensor."""
