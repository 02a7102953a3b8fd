# Slimwire: `make demo` shows it, `make test` checks all of it.
#
# Three virtual environments, each set up once and again when its ingredients change:
#   .venv       what `slimwire demo` needs: edge, cloud, embedded Redis; no torch, numpy 2
#   .venv-test  that and the tools of the tests: the product's tests run as it is installed
#   .venv-dev   the tools, and the trainer (torch, compressai, which holds numpy below 2) with its tests
PYTHON ?= python3
DEMO_ARGS ?=
PYTEST_ARGS ?= -n 2 --dist loadfile

INGREDIENTS := pyproject.toml proto/hatch_build.py proto/generate.py $(wildcard proto/slimwire/v1/*.proto) \
	shared/slimcodec/context/steps.c
# what pip says is its progress: setting up takes a minute or more
PIP := -m pip install --disable-pip-version-check --no-compile
DEV := .venv-dev/bin
# tests that need the extra "train"; all others run without it
TRAINER := tests/unit/slimnets tests/unit/slimtrain tests/contract/test_documents.py studies \
	tests/e2e/training
NODE_CLIENT := tests/integration/node_client

.PHONY: help demo test check format proto clean

help:
	@echo "make demo    stream the sample video from an edge to a cloud on this machine"
	@echo "make test    every check and every test (a quarter of an hour or more on two cores)"
	@echo "make check   the linters, the types and the import contracts only"
	@echo "make format  let ruff write the format and the safe fixes"
	@echo "make proto   generate the code of the wire again"
	@echo "make clean   remove all environments and everything generated"

demo: .venv/.installed
	@.venv/bin/slimwire demo $(DEMO_ARGS)

test: check .venv-test/.installed $(NODE_CLIENT)/node_modules/.package-lock.json
	.venv-test/bin/python -m pytest $(PYTEST_ARGS) $(addprefix --ignore=,$(TRAINER)) tests
	$(DEV)/python -m pytest $(PYTEST_ARGS) $(TRAINER)

check: .venv-dev/.installed
	$(DEV)/ruff format --check .
	$(DEV)/ruff check .
	$(DEV)/mypy
	$(DEV)/lint-imports

format: .venv-dev/.installed
	$(DEV)/ruff format .
	$(DEV)/ruff check --fix .

proto: .venv-dev/.installed
	$(DEV)/python proto/generate.py

clean:
	rm -rf .venv .venv-test .venv-dev $(NODE_CLIENT)/node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f shared/slimwire/v1/*_pb2*.py* shared/slimcodec/context/steps.lib
	find proto shared services tests studies bench -name __pycache__ -type d -prune -exec rm -rf {} +

# A second client of the wire, in another language, and buf. Without npm or its registry their tests are skipped.
$(NODE_CLIENT)/node_modules/.package-lock.json: $(NODE_CLIENT)/package-lock.json
	@npm ci --prefix $(NODE_CLIENT) --ignore-scripts --loglevel error || echo "no modules for Node.js: tests that need them are skipped"

.venv/.installed: $(INGREDIENTS)
	@echo "Setting up .venv, once: a minute or two, 600 MB on disk. Then the demo begins by itself."
	@$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) -e '.[demo]'
	@touch $@

.venv-test/.installed: $(INGREDIENTS)
	@echo "Setting up .venv-test, once: the product and the tools of its tests, a minute."
	@$(PYTHON) -m venv .venv-test
	.venv-test/bin/python $(PIP) -e '.[dev]'
	@touch $@

.venv-dev/.installed: $(INGREDIENTS)
	@echo "Setting up .venv-dev, once: torch and the tools of the tests, some minutes."
	@$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/python $(PIP) -e '.[dev,train]'
	@touch $@
