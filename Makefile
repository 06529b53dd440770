# The first Python that is new enough; make run PYTHON=/path/to/python names another one.
PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$one" && break; done)
VENV := .venv
BIN := $(VENV)/bin
# What the console's pages use of others.
VENDOR := adapter/console/vendor

.DEFAULT_GOAL := help
.PHONY: help run test test-keycloak bench hostile fuzz format vendor

help:
	@echo "make run     serve on this machine, with the example events of every provider in it; PORT=8300 is another port"
	@echo "make test    check the style and the types, and run the tests"
	@echo "make test-keycloak  run the tests with real Keycloaks alone; Maven fetches them"
	@echo "make bench   measure the speed, and print the table"
	@echo "make hostile attack a service with full sizes, and write the table to hostile.md"
	@echo "make fuzz    fuzz what strangers reach, for an hour; SECONDS=60 is another time"
	@echo "make format  write the code in the one style"
	@echo "make vendor  make again what the console's pages use of others, as package.json beside it says; needs npm"

run: $(VENV)/.installed
	@exec $(BIN)/idp-adapter serve --examples $(if $(PORT),--port $(PORT))

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
# Types are checked beside the tests: by themselves they would keep one core busy, and leave the others idle.
	nice $(BIN)/mypy & types=$$!; \
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile; tests=$$?; wait $$types && exit $$tests

test-keycloak: $(VENV)/.installed-test
	$(BIN)/pytest -m keycloak

bench: $(VENV)/.installed-test
	$(BIN)/python -m tests.bench

hostile: $(VENV)/.installed-test
	$(BIN)/pytest tests/hostile --timeout 3600 --hostile-full --hostile-table hostile.md

fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python -m tests.hostile.fuzz --seconds $(or $(SECONDS),3600)

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

vendor:
	rm -rf .vendor && mkdir .vendor && cp $(VENDOR)/package.json .vendor/
	cd .vendor && npm install --no-package-lock --no-audit --no-fund --ignore-scripts
	node $(VENDOR)/build.mjs .vendor/node_modules $(VENDOR)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-fuzz: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,fuzz]'
	@touch $@
