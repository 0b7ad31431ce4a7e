# Everything runs in its own environment, made on first use. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := .venv-tools
SITE := .venv-docs
ARGS ?=
CLIPS ?=
LOCK ?= yes
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup train test test-slow fuzz lint format docs cost bench studies wheel lock sbom audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment (done by every other target as well; LOCK=no: without hashes)

$(READY): pyproject.toml constraints.txt tools/install.py $(wildcard locks/*.txt)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stdo needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/install.py $(if $(filter no,$(LOCK)),--unlocked)
	@touch $@

$(TOOLS)/.ready: locks/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --require-hashes --no-deps --requirement locks/tools.txt
	@touch $@

$(SITE)/.ready: locks/docs.txt
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --require-hashes --no-deps --requirement locks/docs.txt
	@touch $@

train: $(READY) ## Overfit WDSR ×4 to the default clip (ARGS='video.path=… method=nas …' changes anything)
	$(BIN)/python -m stdo.train backbone=wdsr scale=4 chunks=4 $(ARGS)

test: $(READY) ## Run the tests, without the slow ones, on up to four cores
	$(BIN)/python -m pytest -m 'not slow' -n logical --maxprocesses 4 --dist loadfile $(ARGS)

test-slow: $(READY) ## Run the slow tests alone, on up to two cores
	$(BIN)/python -m pytest -m slow -n logical --maxprocesses 2 --dist loadfile $(ARGS)

fuzz: $(READY) ## Feed the readers of foreign files with harmed ones for MINUTES=10 (ARGS=weights for one target)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement locks/fuzz.txt
	$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) $(ARGS)

lint: $(READY) ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Put the code in format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# No --quiet: it would keep warnings from --strict.
docs: $(SITE)/.ready ## Build the documentation with its API reference into build/site
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict
	@echo build/site/index.html

cost: $(READY) ## Parameters and MACs of every backbone, beside the paper's
	$(BIN)/python benchmarks/cost.py

bench: $(READY) ## Speed and memory of everything into benchmarks/results (ARGS='prepare train --quick' for less)
	$(BIN)/python benchmarks/bench.py $(ARGS)

studies: $(READY) ## Run the studies on the clips of a folder: CLIPS=folder (ARGS='table2 trainer=cpu' for a part)
	$(BIN)/python tools/studies.py "$(CLIPS)" $(ARGS)

wheel: $(READY) ## Build the wheel
	$(BIN)/python -m pip wheel --no-deps -w dist .

lock: $(TOOLS)/.ready ## Write locks/ from pyproject.toml and constraints.txt (ARGS=--upgrade: the newest of what they leave open)
	$(TOOLS)/bin/python tools/lock.py $(ARGS)

sbom: $(READY) $(TOOLS)/.ready ## Write what the environment holds into dist/sbom.cdx.json (CycloneDX)
	@mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json $(BIN)/python

audit: $(TOOLS)/.ready ## Ask for known weaknesses of every locked package, where their database can be reached
	$(TOOLS)/bin/python tools/audit.py

clean: ## Remove the environment and what tools left behind; keeps outputs and cache
	rm -rf $(VENV) $(TOOLS) $(SITE) dist build .mypy_cache .ruff_cache .pytest_cache
