# The whole interface of a clone: `make demo` and `make test` install what they need by themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/clawbus
# pip's and npm's own caches go where ours is: nothing is written anywhere else.
export PIP_CACHE_DIR := $(CACHE)/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# JetStream and SQLite sync each write, so the folders of tests lie in memory, where 2 GB of it are free.
export PYTEST_DEBUG_TEMPROOT := $(shell test -w /dev/shm && df -Pk /dev/shm | awk 'NR == 2 && $$4 > 2097152 {print "/dev/shm"}')

.PHONY: help demo quick check test one coverage test-long test-host lint types layers drift shim pure server gateways rows bench lock clean

help:
	@echo "make demo [APP=DIR] [KILL=worker|node|server]   two real gateways, one real task, a report"
	@echo "make demo COMPANY=1   three gateways, a question that climbs to a person, a review"
	@echo "make quick       lint, types, layers, drift, and the tests that start nothing"
	@echo "make check       the same, and the tests that start nats-server, nodes and programs"
	@echo "make test        the same, and the tests that start real gateways"
	@echo "make one T=tests/server/test_pools.py   one file, or one test (FILE::TEST)"
	@echo "make coverage [T=tests/pure]   the figure: branches that the tests without a gateway reach"
	@echo "make test-long   the long forms: ten random kills of each process, 5,000 new examples of each property"
	@echo "make test-host   what needs root or a mount: a disk that is really full"
	@echo "make rows        each promised row's break must turn its tests red (docs/rows.md)"
	@echo "make bench       what clawbus itself adds, as JSON (tests/bench)"

$(VENV)/run.done: requirements/run.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "clawbus needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Run: make demo PYTHON=python3.11"; exit 3; }
	@echo "==> setting up $(VENV) (about 60 MB from the Python package index, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/run.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.done: $(VENV)/run.done requirements/dev.lock
	@echo "==> installing the development tools"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	@touch $@

demo: $(VENV)/run.done
	@$(BIN)/clawbus demo $(if $(APP),--app "$(APP)") $(if $(KILL),--kill $(KILL)) $(if $(COMPANY),--company)

quick: lint types layers drift pure

check: quick shim server

test: check gateways

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell plugin skills souls tests examples docs *.md

types: $(VENV)/dev.done
	$(BIN)/mypy

layers: $(VENV)/dev.done
	$(BIN)/lint-imports

drift: $(VENV)/dev.done
	$(BIN)/python -m clawbus.node.tools.generate --check

shim: $(VENV)/dev.done
	$(BIN)/python -m clawbus.gateway.setup.nodejs --test tests/shim/*.test.mjs

pure: $(VENV)/dev.done
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/pure

# Not every test is sound yet on a shared machine: what fails is tried once more, alone, and both runs are shown.
AGAIN = (echo "==> once more, what has failed:" && $(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "not long"

server: $(VENV)/dev.done
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long" tests/server || $(AGAIN) tests/server)

gateways: $(VENV)/dev.done
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long" --timeout 600 tests/gateway || $(AGAIN) --timeout 600 tests/gateway)

one: $(VENV)/dev.done
	$(BIN)/python -m pytest -n $(if $(findstring ::,$(T)),0,2) --dist loadfile --timeout 600 $(T)

# What a killed process had run is not counted: its figure dies with it.
coverage: $(VENV)/dev.done
	rm -rf .coverage
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m "not long" --timeout 180 $(or $(T),tests/pure tests/server)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

rows: $(VENV)/dev.done
	$(BIN)/python -m tests.breaks --check --strict
	$(BIN)/python -m tests.breaks

test-long: $(VENV)/dev.done
	$(BIN)/python -m pytest -m long --timeout 3600
	$(BIN)/python -m pytest -m "not long" --hypothesis-profile search --timeout 1800 $$(grep -l hypothesis tests/pure/*.py tests/server/*.py)

test-host: $(VENV)/dev.done
	$(BIN)/python -m pytest -m host --timeout 600

bench: $(VENV)/dev.done
	$(BIN)/python -m tests.bench.road
	$(BIN)/python -m tests.bench.many

lock:  # needs uv
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q pyproject.toml --group build -o requirements/run.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -c requirements/run.lock pyproject.toml --group dev -o requirements/dev.lock

clean:
	rm -rf $(VENV) dist .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
