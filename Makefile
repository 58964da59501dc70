# What people do here most; `make` lists it. Uses ./.venv, made by the README's commands.
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help run test check bench

help: ## list these recipes
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/'

run: ## play, live, until Ctrl-C
	$(PYTHON) -m echelon_bridges.cli run

test: ## run the tests
	$(PYTHON) -m pytest

check: ## style, types and boundaries
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

bench: ## measure, briefly; the long suite is `python benchmarks/run.py`
	$(PYTHON) -m echelon_bridges.cli bench --quick
