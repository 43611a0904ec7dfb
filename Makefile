# Every target does its own set-up: a fresh checkout and make are enough to begin with.

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
AGAIN := --last-failed --last-failed-no-failures none

# For a part of a target: make unit ONLY=tests/unit/project/test_docs.py, make bench BENCH=turn,
# make demo DEMO="--json timeline.json", make fuzz FUZZ="--messages 500000 --only probe --seed 7",
# make contract CONTRACT="--cases 500 --seed 7",
# make mutants MUTANTS="--number 40 --seed 7 --only judge --jobs 2", make wheel FOR=python3.12
ONLY ?=
BENCH ?=
DEMO ?=
FUZZ ?=
MUTANTS ?=
RPL ?=
CONTRACT ?=
FOR ?= python3

# The fuzzer takes its zones and simulations from the unit tests.
FUZZER := PYTHONPATH=tests:tests/unit $(PYTHON) -m

# What is compiled is kept: else every worker, and every process that a test starts, compiles anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint unit long labs bench fuzz fuzz-coverage mutants peers contract docs wheel clean \
  setup-demo setup-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: setup-demo ## replay July 2023 live, in network namespaces of its own (a minute)
	@$(PYTHON) -m steering demo $(DEMO)

test: lint ## all checks and tests, with those in labs and those without beside each other
	@scripts/test

lint: setup-test ## ruff and mypy
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

# Beside others, on two cores, a test has less time than it asks for now and then. What failed so
# is tried once more, alone: what fails again fails.
tests = $(PYTEST) -o cache_dir=.pytest_cache/$@ $(1) $(ONLY)

unit: setup-test ## the quick tests, which need no network namespaces
	$(call tests,-n auto -m "not lab and not long") || \
	  { [ $$? -eq 1 ] && $(call tests,-m "not lab and not long" $(AGAIN)); }

long: setup-test ## the long ones: simulated hours, many random stories, builds
	$(call tests,-n auto -m "long and not lab") || \
	  { [ $$? -eq 1 ] && $(call tests,-m "long and not lab" $(AGAIN)); }

labs: setup-test ## the tests in network namespaces, with real name servers and a real kernel
	$(call tests,-n 3 --dist loadfile -m lab) || { [ $$? -eq 1 ] && $(call tests,-m lab $(AGAIN)); }

bench: setup-test ## measure what README.md's figures are made of; BENCH=NAME: one of CONTRIBUTING.md's
	@$(PYTHON) -m benchmarks $(BENCH)

fuzz: setup-test ## ten million hostile messages to all parsers (hours); FUZZ="--messages 5000" for fewer
	@$(FUZZER) fuzz $(FUZZ)

fuzz-coverage: setup-test ## hostile messages bred by the code they reach, five minutes for each parser
	@$(PYTHON) -c 'import atheris' 2>/dev/null || $(PYTHON) -m pip install --quiet -e '.[fuzz]'
	@$(FUZZER) fuzz.coverage $(FUZZ)

mutants: setup-test ## 200 faults put into the code, and which of them no unit test notices (an hour on two cores)
	@$(PYTHON) -c 'import cosmic_ray, pytest_cov' 2>/dev/null || \
	  $(PYTHON) -m pip install --quiet -e '.[mutants]'
	@PYTHONPATH=tests $(PYTHON) -m mutants $(MUTANTS)

peers: setup-test ## our verdicts beside those that RPL=FOLDER wants: scenarios of Unbound or Deckard (two minutes)
	@[ -n "$(RPL)" ] || { echo 'make peers RPL=FOLDER: with *.rpl files of Unbound or Deckard in it'; exit 2; }
	@PYTHONPATH=tests $(PYTHON) -m peers $(RPL)

contract: setup-test ## our verdicts beside those of Unbound, BIND, PowerDNS and Knot on 2,000 odd answers (four minutes)
	@PYTHONPATH=tests $(PYTHON) -m contract $(CONTRACT)

docs: setup-test ## write the generated pages and parts of pages anew
	$(PYTHON) -m steering.config.schema
	$(PYTHON) docs/generate.py

wheel: ## build dist/upstream_steering-*.whl, for the Python that installs it: FOR=python3.12, if not python3
	@scripts/setup wheel $(FOR)

clean: ## remove what the other targets made, .venv too
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-demo setup-test: setup-%:
	@scripts/setup $*
