# Everything runs in .venv, which each target makes and fills for itself, again only when the
# interpreter or the requirements have changed. `make PYTHON=python3.8 test` picks the former.

PYTHON ?= python3
BIN = .venv/bin
VERSION := $(shell $(PYTHON) -c 'import re, sys; print(re.sub(r"\W+", "-", sys.version))')
VENV = .venv/made-by-python-$(VERSION)

.DEFAULT_GOAL = help
.PHONY: help demo test soak mutants bench lint docs all tools

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/demo  ## fetch pages from a local server, through a cache
	$(BIN)/python examples/get_pep.py

test: .venv/test  ## run the suite, with coverage
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report

soak: .venv/soak  ## two minutes of traffic: memory, timers, counters
	$(BIN)/python -m tests.soak

mutants: .venv/mutants  ## change the library, see if a test notices; MODULES="_cache _keys" are some
	$(BIN)/python -m tests.mutants $(MODULES)

bench: .venv/bench  ## compare the speed with that of other caches; WRITE=1 puts it in docs/benchmarks.rst
	$(BIN)/python -m benchmarks.compare $(if $(WRITE),--write)

lint: .venv/tox  ## check style and types
	$(BIN)/tox -e lint

docs: .venv/tox  ## build the site
	$(BIN)/tox -e docs

all: .venv/tox  ## the suite on every Python found, lint, the site, and the built package
	$(BIN)/tox

tools: .venv/tools  ## put into .venv/bin what CONTRIBUTING.rst names

$(VENV):
	$(PYTHON) -m venv --clear .venv
	touch $@

.venv/%: requirements/%.txt $(wildcard requirements/*.txt) setup.cfg $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e . -r $<
	touch $@
