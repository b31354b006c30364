# Everything is set up in a virtual environment in this folder; no root needed. Python 3.10 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
# End-to-end tests side by side; 0: one by one. Two need a machine that does nothing else.
SLOW_WORKERS ?= 0
ARGS ?=

.PHONY: demo test test-fast chaos fuzz check bench dist clean

demo: $(READY)  ## a real constrained search with NNI's web UI
	$(BIN)/nni-privacy search experiments/quickstart.yaml $(ARGS)

test: test-fast  ## the whole test suite; SLOW_WORKERS=2: two end-to-end tests at once
	$(BIN)/python -m pytest -m slow --numprocesses $(SLOW_WORKERS) --dist loadfile $(ARGS)

test-fast: $(READY)  ## without the end-to-end tests
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --dist loadfile $(ARGS)

chaos: $(READY)  ## a search killed ten times and resumed, for 20 seeds (hours)
	NNI_PRIVACY_CHAOS_SEEDS=20 $(BIN)/python -m pytest tests/commands/test_chaos.py -s $(ARGS)

fuzz: $(READY)  ## spoiled files of every kind, for 20 minutes (ARGS="--minutes 60 --only genotypes")
	$(BIN)/python tests/support/fuzz.py $(ARGS)

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/typecheck.py

bench: $(READY)  ## what makes the speed figures in the README
	$(BIN)/python benchmarks/gradients.py
	$(BIN)/python benchmarks/rmia.py
	$(BIN)/python benchmarks/hop_skip_jump.py
	$(BIN)/python benchmarks/audit_size.py
	$(BIN)/python benchmarks/strategies.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/convolutions.py

dist: $(READY)  ## a wheel and a source archive in dist/, and what the package index would say of them
	$(BIN)/python -m pip install --quiet "build>=1.2" "twine>=6.1"
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14) and "nni-privacy needs Python 3.10 to 3.13: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
