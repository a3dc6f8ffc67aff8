# Each target does its own set-up: Python 3.11+, make and a package index are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint docs bench faults fuzz soak
demo: $(STAMP)
	$(BIN)/python peer/demo.py

test: $(STAMP)
	@tests/run $(BIN)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy handleref_sync
	$(BIN)/lint-imports

faults: $(STAMP)
	@tests/faults/run $(BIN) $(or $(ROUNDS),24)

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks $(BENCH)

# FUZZ_SECONDS for each of the two; what breaks something is kept in tests/fuzz/regressions/.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python -m tests.fuzz.harness wire
	$(BIN)/python -m tests.fuzz.harness responder

# Histories of fresh seeds, or from the seed FIRST on.
SEEDS ?= 200
soak: $(STAMP)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(if $(FIRST),--first $(FIRST))

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -e . --group test --group lint --group peer --group docs
	touch $@
