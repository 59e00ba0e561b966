"""Print the share of branches and lines of ``src/`` that the C tests took: ``make coverage``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Read the counts of gcov in the folder that is the first argument."""
    folder = Path(sys.argv[1])
    n_branches = n_taken = 0
    for data in sorted(folder.glob("fb_*.gcda")):
        shown = subprocess.run(
            ["gcov", "-b", "-c", "-t", "-o", str(folder), str(data)], check=True, capture_output=True, text=True
        ).stdout
        source = shown.split("-:    0:Source:")[1:]
        text = "".join(part for part in source if part.splitlines()[0].endswith(".c"))
        counts = [int(n) for n in re.findall(r"^branch +\d+ taken (\d+)", text, flags=re.MULTILINE)]
        never = len(re.findall(r"^branch +\d+ never executed", text, flags=re.MULTILINE))
        missed = [m[1] for m in re.finditer(r"^ *#####: *(\d+):", text, flags=re.MULTILINE)]
        taken = sum(count > 0 for count in counts)
        n_branches += len(counts) + never
        n_taken += taken
        sys.stdout.write(f"{data.stem:<12}{taken:>5} of {len(counts) + never} branches; lines not run: {missed}\n")
    sys.stdout.write(f"branch coverage {100 * n_taken / n_branches:.1f} %\n")


if __name__ == "__main__":
    main()
