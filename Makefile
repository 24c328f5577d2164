# The two commands of the README: `make demo` and `make test`. Both set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One thread per test process: two processes already fill a laptop.
TEST_ENV := OMP_NUM_THREADS=1 TORCH_NUM_THREADS=1
WORKERS ?= 2

.PHONY: help setup demo test test-smoke test-golden lint format types bench constraints clean

help: ## show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(READY): pyproject.toml constraints/ci.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/ci.txt --editable '.[dev]'
	@touch $@

setup: $(READY) ## make the virtual environment

demo: $(READY) ## make up a scene, fuse it, show the errors, write the page
	$(BIN)/sitsfusion demo --out demo-output

test: $(READY) ## all tests
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(WORKERS)

test-smoke: $(READY) ## the few tests that take under a minute
	$(TEST_ENV) $(BIN)/python -m pytest -q -m smoke -n $(WORKERS)

test-golden: $(READY) ## golden files of another folder: make test-golden DIR=...
	$(TEST_ENV) $(BIN)/python -m pytest -q tests/golden --golden-dir $(DIR)

lint: $(READY) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## static types of the package
	$(BIN)/mypy

bench: $(READY) ## benchmarks (long); see benchmarks/README.md
	$(BIN)/python benchmarks/inference.py

constraints: $(READY) ## write the installed versions into constraints/ci.txt
	{ head -1 constraints/ci.txt; $(BIN)/pip freeze --exclude-editable | sed 's/^torch==\([0-9.]*\).*/torch==\1/'; } > constraints/new.txt
	mv constraints/new.txt constraints/ci.txt

clean: ## remove what the other commands made
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache
