"""What holds for every test: property tests are repeatable, and never fail because the machine was busy."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples on every run of `make test`, so that a red run can be repeated anywhere; `make test-long` sets
# VITALEDGE_FUZZ=1 to draw new ones, and prints what is needed to repeat a failure.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, print_blob=True, max_examples=500)
settings.load_profile("fuzz" if os.environ.get("VITALEDGE_FUZZ") else "repeatable")
