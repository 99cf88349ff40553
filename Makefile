# One word for each thing to do; `make help` lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test faults check bench-quick format clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

run: $(STAMP) ## PostgreSQL, Realtime, the worker and traffic on this machine; ARGS="--for 30" stops by itself
	@$(PY) -m local run $(ARGS)

test: $(STAMP) ## all tests; ARGS="-k name" picks some
	$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

faults: $(STAMP) ## throw every fault, idle and under load, and write docs/operations.md's table
	$(PY) -m tests.faults

check: $(STAMP) ## format, lint, types, the contracts of the layout, documents, deploy files
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pytest -q -m docs tests/unit

bench-quick: $(STAMP) ## is the link fast enough beside bare readers? ARGS="--turns 9" for steadier figures
	@$(PY) -m benchmarks $(ARGS)

format: $(STAMP) ## put the code into shape
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean: ## forget the environment and the local data
	rm -rf $(VENV) .tidemark

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tidemark needs Python 3.11 or newer; try: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
