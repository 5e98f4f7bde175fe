# Each interpreter has its own environment under .venv/, and the tools have theirs: .venv/tools.
# Each target fills the environment that it needs, again only when the requirements have changed.
# `make PYTHON=python3.8 test` picks the interpreter.

PYTHON ?= python3
TOOLS_PYTHON ?= python3
NAME := $(shell $(PYTHON) -c 'import platform as p, sysconfig as s; print(p.python_implementation().lower() + p.python_version() + ("t" if s.get_config_var("Py_GIL_DISABLED") else ""))')
VENV = .venv/$(NAME)
BIN = $(VENV)/bin
TOOLS = .venv/tools

.DEFAULT_GOAL = help
.PHONY: help demo test pytest soak mutants bench growth lint docs all tools

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/demo.installed  ## fetch pages from a local server, through a cache
	$(BIN)/python examples/get_pep.py

test: $(VENV)/test.installed  ## run the suite, with coverage
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report

pytest: $(VENV)/test.installed  ## run what ARGS="-p no:randomly tests/test_keys.py" says
	$(BIN)/python -m pytest $(ARGS)

soak: $(VENV)/soak.installed  ## two minutes of traffic: memory, timers, counters
	$(BIN)/python -m tests.soak

mutants: $(VENV)/mutants.installed  ## change the library, see if a test notices; MODULES="_cache _keys" are some
	$(BIN)/python -m tests.mutants $(MODULES)

bench: $(VENV)/bench.installed  ## compare the speed with that of other caches; WRITE=1 puts it in docs/benchmarks.rst
	$(BIN)/python -m benchmarks.compare $(if $(WRITE),--write)

growth: $(VENV)/test.installed  ## see how cost grows with what is cached, waits, or is dropped
	$(BIN)/python -m benchmarks.growth

lint: $(TOOLS)/tox.installed  ## check style and types
	$(TOOLS)/bin/tox -e lint

docs: $(TOOLS)/tox.installed  ## build the site, in .tox/docs/tmp/html
	$(TOOLS)/bin/tox -e docs

all: $(TOOLS)/tox.installed  ## the suite on every Python found, lint, the site, and the built package
	$(TOOLS)/bin/tox

tools: $(TOOLS)/tools.installed  ## put into .venv/tools/bin what CONTRIBUTING.rst names

$(VENV)/made:
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(TOOLS)/made:
	$(TOOLS_PYTHON) -m venv --clear $(TOOLS)
	touch $@

$(VENV)/%.installed: requirements/%.txt $(wildcard requirements/*.txt) setup.cfg $(VENV)/made
	$(BIN)/python -m pip install -q --disable-pip-version-check -e . -r $<
	touch $@

$(TOOLS)/%.installed: requirements/%.txt $(wildcard requirements/*.txt) $(TOOLS)/made
	$(TOOLS)/bin/python -m pip install -q --disable-pip-version-check -r $<
	touch $@
