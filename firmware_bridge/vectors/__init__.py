"""Golden bytes of the wire, read by every implementation's tests, and the script that made them."""
