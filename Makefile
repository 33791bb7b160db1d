PYTHON ?= python3
VENV   ?= .venv
TESTS  ?= tests
RUN    := $(VENV)/bin

.PHONY: serve test suite sharding compat check format docs bench clean

serve: $(VENV)/.installed            ## run the server on the bundled demo
	@echo "Demo: http://127.0.0.1:8000 (reload it a few times; Ctrl-C stops)"
	@echo "Next: curl http://127.0.0.1:8000/who   or your own: $(RUN)/shardserve myapp:app --workers 4"
	@exec $(RUN)/shardserve shardserve.demo:app --workers 4

test: suite                          ## every test; what cannot run here skips with its reason
	$(RUN)/python -m pytest -q -n 2 tests/sharding

suite: $(VENV)/.tests                ## the same without the matrix of tests/sharding
	$(RUN)/python -m pytest -q -n 6 --ignore tests/sharding $(TESTS)

sharding: $(VENV)/.tests             ## the matrix of tests/sharding in full, with its tables (docs/sharding.md)
	SHARDING=full $(RUN)/python -m pytest -q tests/sharding

compat: $(VENV)-compat/.installed    ## gunicorn's framework compatibility suite (docs/compatibility.md)
	$(VENV)-compat/bin/python tests/compat/run.py $(VENV)-compat $(COMPAT)

$(VENV)-compat/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-compat
	$(VENV)-compat/bin/python -m pip install -q --prefer-binary -e . blacksheep channels django fastapi litestar quart \
		starlette httpx websockets pytest pytest-asyncio
	@touch $@

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

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("shardserve needs Python 3.11 or newer; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.tests: $(VENV)/.installed
	$(RUN)/python -m pip install -q -e '.[dev,test]'
	@touch $@

bench: $(VENV)-bench/.installed      ## compare with other servers (needs wrk): table in benchmarks/README.md
	$(VENV)-bench/bin/python benchmarks/bench.py $(BENCH)

$(VENV)-bench/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install -q -e . 'uvicorn[standard]' granian gunicorn
	@touch $@
