# Every target does its own set-up; Python 3.11 or newer is all it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What `make run` needs, and nothing else.
RUN := .venv-run
PEERS := .venv-bench

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start some hundred processes, each of which would compile what it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run tour test test-middle test-all test-pythons extras lint format ratchet api parity bench
.PHONY: operations torture failover clean

run: $(RUN)/.ready
	@$(RUN)/bin/python examples/http/serve.py

tour: $(READY)
	@$(BIN)/python examples/tour.py

# The tests of a file stay together, and share what is dear to make. How many processes there are is
# said in tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

# tests/tiers.py says what each tier runs.
test: $(READY)
	$(PYTEST) --tier=fast

test-middle: $(READY)
	$(PYTEST) --tier=middle

# What others try their own session engines with, of two versions, from their source distributions.
.peers:
	mkdir -p .peers
	cd .peers && for version in 5.2.19 6.1.3; do \
		$(PYTHON) -m pip download --quiet --no-deps --no-binary :all: --ignore-requires-python \
			django==$$version && tar xzf django-$$version.tar.gz || exit 1; done
	cd .peers && $(PYTHON) -m pip download --quiet --no-deps --no-binary :all: \
		flask==3.1.3 flask-login==0.6.3 flask-session==0.5.0 starlette==1.10.0 && \
		for name in flask-3.1.3 Flask-Login-0.6.3 Flask-Session-0.5.0 starlette-1.10.0; do \
			tar xzf $$name.tar.gz || exit 1; done
	$(PYTHON) -m pip install --quiet --no-deps --target .peers/lib semantic-version

test-all: $(READY)
	$(PYTEST) --tier=all --record tests/last_whole_run.json
	$(MAKE) torture SECONDS=$(TORTURE_SECONDS)

# Tries to break ledgers from outside: docs/reliability.md. RECORD=1 writes the counts there.
SECONDS ?= 60
TORTURE_SECONDS ?= 3600
torture: $(READY)
	$(BIN)/python -m torture --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(TRIALS),--trials $(TRIALS)) \
		$(if $(RECORD),--record)

# Two servers under Patroni, of which the leader is killed, stopped, cut off and replaced. It needs
# etcd: `.ci/install` installs it.
failover: $(READY)
	SESSIONLEDGER_TESTS_REQUIRE_SERVERS=1 $(BIN)/python -m pytest --tier=all \
		tests/logs/postgres/test_failover.py

# The fast tests on each CPython that is found, and the wheels that others would install.
test-pythons: $(READY)
	$(BIN)/python -m tests.packaging.interpreters
	$(BIN)/python -m tests.packaging.wheels

# What each extra brings, and how large it is.
extras: $(READY)
	$(BIN)/python -m tests.packaging.extras

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Lowers the number of faults that tests/test_prose.py allows in each file to those that are left.
ratchet: $(READY)
	$(BIN)/python -m tests.prose

# Writes docs/api.md from the docstrings.
api: $(READY)
	$(BIN)/python -m tests.api_reference

# Replays recorded answers of the reference: make parity DATA=path/to/folder
DATA ?= tests/data/parity
parity: $(READY)
	$(BIN)/python -m tests.parity $(DATA)

bench: $(READY) $(PEERS)/.ready
	$(BIN)/python -m benchmarks

# Writes down how many statements, flushes, bytes and Python calls one call takes.
operations: $(READY)
	$(BIN)/python -m tests.operations

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[cli,dev]'
	@touch $@

$(RUN)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RUN)
	$(RUN)/bin/python -m pip install -q -c constraints.txt -e '.[cli,server]'
	@touch $@

# What ours is compared with, and an older release of one of them beside it.
$(PEERS)/.ready: pyproject.toml benchmarks/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -q -r benchmarks/requirements.txt -e .
	$(PEERS)/bin/python -m pip install -q --no-deps --target $(PEERS)/pyjwt-2.10.1 --upgrade pyjwt==2.10.1
	@touch $@
