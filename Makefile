# The commands of this project. On a fresh Debian: apt-get install python3 python3-venv make; make run

# The system's own interpreter first: distributions build it with every optimisation, version managers
# mostly do not, and mail passes a fifth faster through the former.
ifndef PYTHON
PYTHON := $(shell for python in /usr/bin/python3 python3; do \
	$$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; done; echo $$python)
endif
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= data
ARGS   ?=

# Whatever index pip is set to use: what it installs is what the lock files name, by hash.
PIP    := $(BIN)/python -m pip --disable-pip-version-check
QUIET  := --quiet --progress-bar off

# dkimpy comes as source only. Without isolation it is built by the locked setuptools, where pip would
# otherwise fetch whatever is newest, unhashed, for that one build.
INSTALL := $(PIP) install $(QUIET) --use-pep517 --no-build-isolation

.PHONY: help setup setup-dev run test test-packages check check-text check-units format fuzz bench lock docs

help:
	@echo "make run      sets up and starts everything on this machine; data lies in ./$(DATA)"
	@echo "make test     every test, with real PostgreSQL, Redis and RabbitMQ"
	@echo "make check    format, lint, types, import contracts, figures, unit tests: under a minute"
	@echo "make setup    only makes the environment $(VENV)"
	@echo "make fuzz     damaged input for every parser of what strangers send, for FUZZ_SECONDS=300"
	@echo "make bench    measures this beside Postfix with OpenDKIM"
	@echo "make docs     writes docs/settings.md anew"
	@echo "make lock     resolves the dependencies anew (needs uv)"

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

run: setup
	@exec $(BIN)/mailer up --data-dir "$(DATA)" $(ARGS)

# By whole files. Journeys have many processes of their own; those with few tests are the longest, and not last.
test: setup-dev test-packages
ifeq ($(strip $(ARGS)),)
	$(BIN)/pytest --numprocesses=3 --dist=loadfile -m "not journey"
	$(BIN)/pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder -m journey --durations=40
else
	$(BIN)/pytest $(ARGS)
endif

test-packages:
	@sh tests/packages.sh

check: setup-dev
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-text check-units

check-text:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.house.figures

check-units:
	$(BIN)/pytest --quiet --hypothesis-profile=quick -m "not servers and not journey and not slow" $(ARGS)

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

FUZZ_SECONDS ?= 300

fuzz: setup-dev
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest tests/fuzz -rP $(ARGS)

# n >= 20,000 and five rounds in turn: a shared machine wanders by a factor of two between runs.
BENCH := tests/bench/compare.py tests/bench/product.json --peer postfix -n 20000
BENCH_NEEDS := --rounds 5 --need 'end_to_end_per_s>=2' --need 'accept_per_s>=3'

bench: setup-dev
	@echo "== by HTTP"
	$(PYTHON) $(BENCH) $(BENCH_NEEDS) $(ARGS)
	@echo "== by SMTP"
	$(PYTHON) $(BENCH) --smtp $(BENCH_NEEDS) $(ARGS)
	@echo "== by HTTP, with TLS to the next hop"
	$(PYTHON) $(BENCH) --tls --rounds 3 --light 0 $(ARGS)
	@echo "== by SMTP, beside Postfix that does not sign"
	$(PYTHON) $(BENCH) --smtp --peer-no-dkim --rounds 3 --light 0 $(ARGS)
	@echo "== latency under light load"
	$(PYTHON) tests/bench/light.py
	@echo "== beside a backlog for other sites"
	$(PYTHON) tests/bench/backlog.py -n 10000
	@echo "== beside a site that hangs"
	$(PYTHON) tests/bench/backlog.py --sizes 0,5000 --domains 10 -n 20000 --rounds 3 --plot tests/bench/results/beside-a-hanging-site.png
	@echo "== beside another tenant's backlog"
	$(BIN)/python -m tests.bench.fairness

$(VENV)/.runtime: requirements-build.txt requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version)'
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --require-hashes --requirement requirements-build.txt
	@$(INSTALL) --require-hashes --requirement requirements.txt
	@$(INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "adding what the tests and checks need ..."
	@$(INSTALL) --require-hashes --requirement requirements-dev.txt
	@touch $@

docs: setup
	{ printf '# Settings\n\nEach is an environment variable; an unknown one is an error, and all errors are named at once.\n\n'; \
	  $(BIN)/mailer check-config --markdown; } > docs/settings.md

# One resolution for every Python and processor that we support (--universal). The constraint keeps the
# runtime packages of both files the same.
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --no-config --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --quiet

lock:
	@command -v uv >/dev/null || { echo "uv is needed to lock: pip install uv"; exit 1; }
	$(LOCK) --upgrade --output-file requirements-build.txt requirements-build.in
	$(LOCK) --upgrade --output-file requirements.txt pyproject.toml
	$(LOCK) --upgrade --constraint requirements.txt --extra dev --output-file requirements-dev.txt pyproject.toml
