# On a fresh machine with Python >= 3.11:   make demo   (the main job)   and   make test   (the whole suite).
# PIP_ARGS goes to every pip install, e.g. PIP_ARGS="--index-url <a mirror>" or one that serves CPU builds of torch.
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow setup check format tables benchmark clean

demo: $(VENV)/.base ## run sheaf, GCN and MLP on an embedded heterophilic graph; no network, about two minutes
	$(RUN) -m gnnzoo run suite=demo jobs=2 results=demo/results curves=demo/curves.png

test: $(VENV)/.test ## run the whole suite; real data are tested where GNNZOO_DATA points to them
	$(RUN) -m pytest $(PYTEST_ARGS)

test-slow: $(VENV)/.test ## also train to the published bands
	$(RUN) -m pytest $(PYTEST_ARGS) -m "slow or not slow"

setup: $(VENV)/.dev $(VENV)/.scatter ## everything a developer needs, torch-scatter included (needs a C++ compiler)

check: $(VENV)/.dev ## what CI checks without running anything
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN) tools/tables.py --check
	$(RUN) -m gnnzoo reproduce results=leaderboards/results --check
	$(RUN) -m gnnzoo leaderboard render --check

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

tables: $(VENV)/.base ## write README's tables, the leaderboards and the page of reproductions again
	$(RUN) tools/tables.py
	$(RUN) -m gnnzoo reproduce results=leaderboards/results --write
	$(RUN) -m gnnzoo leaderboard render

benchmark: $(VENV)/.base ## CPU seconds per step, next to plain formulations; fails below the promised ratios
	$(RUN) tools/benchmark.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "gnnzoo needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(INSTALL) -e ".[test]"
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(INSTALL) -e ".[dev]"
	touch $@

# A wheel that pip kept from another torch does not load: then it is built again, past pip's cache.
$(VENV)/.scatter: $(VENV)/.base
	$(INSTALL) setuptools wheel
	$(INSTALL) --no-build-isolation torch-scatter
	$(RUN) -c "import torch, torch_scatter" || $(INSTALL) --no-build-isolation --no-cache-dir --no-deps --force-reinstall torch-scatter
	$(RUN) -c "import torch, torch_scatter; print('torch-scatter', torch_scatter.__version__)"
	touch $@

clean:
	rm -rf $(VENV) build dist demo results .pytest_cache .ruff_cache .mypy_cache
