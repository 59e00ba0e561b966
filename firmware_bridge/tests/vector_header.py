"""Print the golden vectors as a C header: ``python vector_header.py > vectors.h``.  Made anew for every test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

VECTORS = Path(__file__).parent.parent / "vectors"


def array(name: str, text: str) -> str:
    """Return hexadecimal digits as a C array; an empty one gets a byte that is never read."""
    data = bytes.fromhex(text) or b"\x00"
    return f"static const uint8_t {name}[] = {{{', '.join(str(byte) for byte in data)}}};"


def main() -> None:
    """Print `COBS_VECTORS` and one `LINE_...` with its length for each packet."""
    out = ["#include <stddef.h>", "#include <stdint.h>"]
    stuffing = json.loads((VECTORS / "cobs.json").read_text())
    for k, vector in enumerate(stuffing):
        out += [array(f"PLAIN_{k}", vector["plain"]), array(f"STUFFED_{k}", vector["stuffed"])]
    out.append(
        "static const struct { const uint8_t *plain; size_t n_plain; const uint8_t *stuffed; size_t n_stuffed; }"
    )
    rows = (
        f"  {{PLAIN_{k}, {len(vector['plain']) // 2}u, STUFFED_{k}, {len(vector['stuffed']) // 2}u}},"
        for k, vector in enumerate(stuffing)
    )
    out += ["COBS_VECTORS[] = {", *rows, "};"]
    out.append("/* Lines of packets.json, named as there; each test file includes what it needs. */")
    for vector in json.loads((VECTORS / "packets.json").read_text()):
        name = "LINE_" + vector["name"].replace("-", "_").upper()
        out.append(f"#define {name} {{{', '.join(str(byte) for byte in bytes.fromhex(vector['line']))}}}")
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
