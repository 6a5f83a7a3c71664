# `make demo` and `make test` each work as the first and only command on a machine with Python 3.11+ and make.
# VENV=… puts the virtual environment elsewhere, PYTHON=… names the interpreter to make it with, ARGS=… is passed on.

VENV ?= .venv
PYTHON ?=
ARGS ?=
WORKERS ?= 4
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
INSTALLER := pyproject.toml scripts/install

# Some machines forbid bytecode; every process of a test run would then compile the whole project anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test lint bench soak lock

help: ## this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 12

setup: $(DEV) ## the virtual environment with everything that serving, testing and linting need
	@echo "$(VENV) is ready."

demo: $(RUNTIME) ## the sandbox: a simulated WeCom and Exmail, the bot, and a page to chat on; no account needed
	$(BIN)/exmail-bot sandbox $(ARGS)

test: $(DEV) ## lint, then every test; installs Dovecot, PostgreSQL and Chromium when it may (Debian, root)
	scripts/test-servers
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(DEV) ## format, lint, types, imports: what a test run checks first
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(DEV) ## the copy beside other copiers, near and 40 ms away, every result compared; 10 minutes
	scripts/test-servers
	scripts/bench-peers
	$(BIN)/python -m tests.bench $(ARGS)

soak: $(DEV) ## copies killed at random and at every step, cut off, restarted, and compared in the end; 15 minutes
	scripts/test-servers
	$(BIN)/python -m tests.soak $(ARGS)

lock: ## write the lock files anew after a change of pyproject.toml (needs uv)
	PATH="$$PATH:$(abspath $(BIN))" scripts/lock $(ARGS)

$(RUNTIME): requirements.lock $(INSTALLER)
	VENV="$(VENV)" PYTHON="$(PYTHON)" scripts/install runtime

$(DEV): requirements-dev.lock requirements.lock $(INSTALLER)
	VENV="$(VENV)" PYTHON="$(PYTHON)" scripts/install dev
