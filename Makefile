# make demo | test | check | bench | docs | env     (ARGS=... is handed to the demo)

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test check bench docs env clean

env: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is too old; give one of 3.11 or newer: make env PYTHON=python3.11" >&2; exit 1; }
	@echo "making .venv with the exact versions of constraints.txt (some minutes the first time)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip hatchling editables
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt --no-build-isolation --editable '.[dev]' | grep -v '^Requirement already'
	@touch $@

demo: env
	$(BIN)/recsys demo $(ARGS)

test: env
	$(BIN)/python -m pytest $(ARGS)

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: env
	$(BIN)/python benchmarks/als.py
	$(BIN)/python benchmarks/recommend.py

docs: env
	$(BIN)/python -m sphinx -W -b html docs docs/_build

clean:
	rm -rf .venv demo build dist docs/_build
