"""What serial devices send, as captured or derived in the published descriptions of their protocols."""

from __future__ import annotations


def nonin(n_packets: int = 3) -> bytes:
    """Format 2: packets of 25 frames, the first marked; 72 /min and 97 % in every one."""
    data = {1: 0x00, 2: 72, 3: 97, 9: 97}
    out = bytearray()
    for _ in range(n_packets):
        for number in range(1, 26):
            head = bytes((0x01, 0x81 if number == 1 else 0x80, 100, data.get(number, 0)))
            out += head + bytes((sum(head) % 256,))
    return bytes(out)


CONTEC = bytes.fromhex("8533064161") * 60
"""One second of the older protocol: 65 /min, 97 %."""
CONTEC_V7 = bytes.fromhex("01E085B396C1E1FFFF") * 60
"""One second of the newer one, a captured packet: 65 /min, 97 %."""
OPENVIEW = bytes.fromhex("0AFA1600022EFBFFFF2E16000000A0860100C0D40100580E624810000B") * 64
"""Half a second of a HealthyPi 5."""
CYTON = b"".join(bytes((0xA0, number)) + bytes(range(24)) + bytes(6) + b"\xc0" for number in range(125))
"""Half a second of a started board."""
CYTON_BANNER = (
    b"OpenBCI V3 8-16 channel\nOn Board ADS1299 Device ID: 0x3E\nLIS3DH Device ID: 0x33\nFirmware: v3.1.1\n$$$"
)
"""What a board says when it is reset."""
