# SPDX-License-Identifier: GPL-3.0-or-later
# Each target sets up what it needs, from nothing, as root or with sudo; a second run does nothing
# twice. A step's full output is in .cache/setup*.log.

PYTHON_ENV := .venv/bin
SOURCES := bridge tests scripts $(wildcard demo benchmarks reliability)

.DEFAULT_GOAL := help
.PHONY: help demo setup check format test e2e soak chaos fuzz docs lock clean distclean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## hear a call go from Matrix to a telephone and back (ONCE=1: show it once, then end)
	@scripts/setup demo
	@$(PYTHON_ENV)/python -m demo $(if $(ONCE),--once)

setup: ## everything for working on the code: environment, packages, the pjsua2 wheel
	@scripts/setup setup

check: setup ## linters, types and the direction of imports
	@scripts/check

format: setup ## put the code into its format
	@$(PYTHON_ENV)/ruff check --quiet --fix $(SOURCES)
	@$(PYTHON_ENV)/ruff format $(SOURCES)

test: ## check, and every test: also those with a homeserver, a browser and SIP peers
	@scripts/setup test
	@$(if $(ARGS),scripts/check)
	@scripts/test $(ARGS)

e2e: ## only the tests with software from elsewhere (ARGS='-k name' chooses)
	@scripts/setup test
	@$(PYTHON_ENV)/python -m pytest tests/e2e $(ARGS)

soak: ## steady calls both ways for MINUTES=30, with all that can happen in them (SEED= repeats a run)
	@scripts/setup test
	@$(PYTHON_ENV)/python -m reliability soak --minutes $(or $(MINUTES),30) \
		$(if $(RATE),--rate $(RATE)) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos: ## calls while homeserver, SIP peer, database, disk, clock and more fail (SEED=, FAULTS='a b')
	@scripts/setup test
	@$(PYTHON_ENV)/python -m reliability chaos $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: ## what comes from the network, made up to reach ever more of the code (SECONDS=60 each, TARGETS='rtp sdp')
	@scripts/setup test
	@$(PYTHON_ENV)/python -m tests.fuzz $(TARGETS) --seconds $(or $(SECONDS),60) $(ARGS)

docs: setup ## write the generated files anew: examples, reference, diagrams
	@$(PYTHON_ENV)/python -m scripts.write_reference
	@scripts/draw-states
	@$(PYTHON_ENV)/python scripts/draw-overview docs/images/overview.svg

lock: ## write requirements/*.txt anew (ARGS=--upgrade: to the newest versions allowed)
	@scripts/lock $(ARGS)

clean: ## remove what checks and tests leave behind
	@rm -rf build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis *.egg-info
	@find bridge tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environments, too
	@rm -rf .venv .venv-* .cache tests/e2e/browser/node_modules
