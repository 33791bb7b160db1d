PYTHON ?= python3
VENV   ?= .venv
TESTS  ?= tests
WORKERS ?= 6
FUZZ_SECONDS ?= 3600
RUN    := $(VENV)/bin
# What tests run on: with SHARDSERVE_PURE=1 nothing needs compiling.
BUILT  := $(VENV)/$(if $(filter-out 0,$(SHARDSERVE_PURE)),.tests,.compiled)
INSTALL ?= -e '.[dev,test]'
PIP    ?= $(RUN)/python -m pip install -q
SOURCES := setup.py shardserve/build.py shardserve/native.py shardserve/native.pxd $(wildcard shardserve/*/*.py shardserve/*/*.pxd shardserve/*/*/*.py shardserve/*/*/*.pxd)

.PHONY: serve test suite matrix environment compile wheel sharding fuzz autobahn check format docs bench attacks soak clean compat compliance

serve: $(VENV)/.quick                ## run the server on the bundled demo
	@echo "Demo: http://127.0.0.1:8000 (reload it a few times; Ctrl-C stops)"
	@echo "Next: curl http://127.0.0.1:8000/who   or your own: $(RUN)/shardserve myapp:app --workers 4"
	@exec $(RUN)/shardserve shardserve.demo:app --workers 4

test: suite matrix                   ## every test; what cannot run here skips with its reason

matrix: $(BUILT)               ## tests/sharding, two at a time: it measures waits
	$(RUN)/python -m pytest -q -n 2 --dist worksteal tests/sharding

suite: $(BUILT)                ## every other test
	$(RUN)/python -m pytest -q -n $(WORKERS) --dist worksteal --ignore tests/sharding $(TESTS)

environment: $(BUILT)                ## what the suite runs on, and no more

sharding: $(VENV)/.compiled             ## the matrix of tests/sharding in full, with its tables (docs/sharding.md)
	SHARDING=full $(RUN)/python -m pytest -q tests/sharding

fuzz: $(VENV)-fuzz/.installed        ## coverage-guided fuzzing of the request path for FUZZ_SECONDS (docs/testing.md)
	@mkdir -p .fuzz
	cd .fuzz && SHARDSERVE_PURE=1 ../$(VENV)-fuzz/bin/python ../tests/fuzz/run_atheris.py -max_total_time=$(FUZZ_SECONDS)

$(VENV)-fuzz/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-fuzz
	SHARDSERVE_PURE=1 $(VENV)-fuzz/bin/python -m pip install -q -e . atheris hypothesis
	@touch $@

autobahn: $(VENV)/.tests $(VENV)-autobahn/.installed  ## WebSocket against Autobahn|Testsuite (docs/websocket.md); AUTOBAHN=--all: all 517
	$(RUN)/python tests/autobahn.py --wstest $(VENV)-autobahn/two/bin/wstest $(AUTOBAHN)

compat: $(VENV)-compat/.installed    ## gunicorn's framework compatibility suite (docs/compatibility.md)
	$(VENV)-compat/bin/python tests/compat/run.py $(VENV)-compat $(COMPAT)

compliance: $(VENV)-compat/.installed  ## gunicorn's ASGI compliance suite (needs nginx; docs/compatibility.md)
	$(VENV)-compat/bin/python tests/compat/compliance.py $(VENV)-compat $(COMPLIANCE)

$(VENV)-compat/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-compat
	$(VENV)-compat/bin/python -m pip install -q --prefer-binary -e . blacksheep channels django fastapi litestar quart \
		starlette 'httpx[http2]' websockets pytest pytest-asyncio
	@touch $@

compile: $(VENV)/.compiled           ## compile again what has changed (docs/building.md)

check: $(VENV)/.tests                ## format, lint, types, layers
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/python -m pytest -q tests/unit/test_layers.py

format: $(VENV)/.tests
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

docs: $(VENV)/.installed             ## write docs/settings.md from the settings table
	$(RUN)/python -m shardserve.config.reference > docs/settings.md

wheel:                               ## sdist and wheel for this machine in dist/, tested where there is no compiler
	.ci/wheel $(PYTHON)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find shardserve -name '*.so' -delete

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("shardserve needs Python 3.11 or newer; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install -q --upgrade pip  # the one that Python 3.11 brings takes twice as long for the rest

# For a first look: nothing is compiled, which would take some minutes.
$(VENV)/.quick: pyproject.toml | $(VENV)/bin/python
	SHARDSERVE_PURE=1 $(RUN)/python -m pip install -q -e .
	@touch $@

# Compiles as well, where there is a C compiler.
$(VENV)/.installed: pyproject.toml $(SOURCES) | $(VENV)/bin/python
	$(RUN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.tests: pyproject.toml | $(VENV)/bin/python
	SHARDSERVE_PURE=1 $(PIP) $(INSTALL)
	@touch $@

# Compiled modules beside their sources; once they are older, tests refuse to run (tests/support/compiled.py).
$(VENV)/.compiled: $(SOURCES) $(VENV)/.tests
	$(RUN)/python setup.py -q build_ext --inplace --parallel 2
	@touch $@

bench:                               ## compare with other servers, each in its own environment: benchmarks/README.md
	$(PYTHON) benchmarks/bench.py $(BENCH)

attacks: $(VENV)/.installed          ## what slow, hostile and flooding clients do (needs wrk): tables in docs/bounds.md
	$(RUN)/python benchmarks/attacks.py $(ATTACKS)

soak: $(VENV)/.installed             ## memory over two million requests (15 minutes): table in docs/bounds.md
	$(RUN)/python benchmarks/memory.py $(SOAK)

# Autobahn|Testsuite is a program for Python 2.7.
PYTHON27 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/2.7.*/bin/python) python2.7)

$(VENV)-autobahn/.installed:
	@$(PYTHON27) -c "" 2>/dev/null || { echo "make autobahn needs a Python 2.7: pyenv install 2.7.18, or PYTHON27=/path/to/python2.7" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)-autobahn
	$(VENV)-autobahn/bin/python -m pip install -q 'virtualenv<20.22'
	$(VENV)-autobahn/bin/virtualenv -q -p $(PYTHON27) $(VENV)-autobahn/two
	$(VENV)-autobahn/two/bin/python -m pip install -q autobahntestsuite==25.10.1
	@touch $@
