# `just` lists the recipes.
default:
    @just --list

# make the environment
setup:
    python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]'

# play
run *options:
    .venv/bin/echelon-engine run {{options}}

# the tests
test *options:
    .venv/bin/python -m pytest {{options}}

# style, types and boundaries
check:
    .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

# speed and latency
bench *options:
    .venv/bin/echelon-engine bench {{options}}

# all that CI does
ci:
    .ci/run
