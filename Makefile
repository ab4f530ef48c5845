# Everything runs in .venv, which `make setup` makes out of Python 3.11 (or newer) and pip alone.
#
#   make setup   the environment, with the embedded engine and what the checks need
#   make demo    three runs on shipped data, with the shipped models
#   make test    all tests that need no torch
#   make test-engines  tests with models of random weights: installs torch into .venv
#   make test-scale    clusters and an S3 server as real processes: installs Ray and moto into .venv, uses SLURM where it is
#   make check   style, types and structure
#   make bench   the figures of the README
#   make clean   remove caches and what `make demo` wrote (.venv stays: make distclean)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ENGINES := $(VENV)/.engines
SCALE := $(VENV)/.scale

# The first of these that runs and is new enough; or: make setup PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; \
	done)

# Commands start twice as fast from compiled files.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-engines test-scale check bench clean distclean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make setup PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,llamacpp]'
	$(BIN)/python -m compileall -q src
	@touch $@

# Exit code 3 is a run that is done and has failed records: the summary shows them.
demo: setup
	@$(BIN)/mirage demo || test $$? -eq 3

test: setup
	$(BIN)/python -m pytest -q -m 'not real and not scale'

# TORCH is the version that these tests are known to pass with; PyPI has it for CPU and CUDA. Where
# another index has the build for your GPU: pip install torch --index-url ..., and then this.
TORCH := torch==2.13.0

test-engines: $(ENGINES)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -m real tests/real

$(ENGINES): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[transformers]' trl
	@touch $@

# What is skipped says so.
test-scale: $(SCALE)
	$(BIN)/python -m pytest -q -rs -m scale tests/clusters

$(SCALE): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[remote,scale]'
	@touch $@

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_structure.py

bench: setup
	bench/run

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo-out
	find src tests demo docs examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
