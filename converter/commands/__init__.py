"""The commands of ``vitaledge-convert``, one module each: `add_parser` and `run`."""
