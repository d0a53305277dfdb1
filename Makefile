# Everything a developer does. Only Python >= 3.11 has to be there; PYTHON=python3.12 chooses one.
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench docs clean FORCE

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make the virtual environment and install the package with its tools

demo: $(STAMP)  ## compare five accelerators on a pruned ResNet-50: a table, and a page of plots
	$(BIN)/sparseloom demo

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

check: $(STAMP)  ## lint, types, direction of imports
	$(BIN)/ruff check src tests docs
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## time the model
	$(BIN)/python -m benchmarks

docs: $(STAMP)  ## build the site of the documentation; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q docs build/docs
	@echo "the site is build/docs/index.html"

clean:  ## remove the virtual environment and all caches
	rm -rf $(VENV) dist build docs/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# PYTHON=... asks again whether the environment is of that Python; otherwise only a change of pyproject.toml installs.
$(STAMP): pyproject.toml scripts/setup $(if $(PYTHON),FORCE)
	@PYTHON="$(PYTHON)" VENV="$(VENV)" scripts/setup

FORCE:
