# Every target sets itself up in .venv and changes nothing else on the machine.
# It takes Python >= 3.11, make >= 3.81 and a package registry; another Python: make test PYTHON=/path/to/python

PYTHON ?= python3.14 python3.13 python3.12 python3.11 python3 python
PY := .venv/$(if $(filter Windows_NT,$(OS)),Scripts/python.exe,bin/python)
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test lint check docs docs-serve bench soak campaigns table pictures clean anew
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make demo   optimize a scikit-learn script: no key, no network"
	@echo "make test   run the tests; make test ARGS='-k store' runs some of them"
	@echo "make lint   look at style and types"
	@echo "make check  lint, then the tests with coverage: what a change must pass"
	@echo "make docs   build the docs site into site/; make docs-serve shows it while you write"
	@echo "make table  run the hostile programs and write the table of docs/sandbox.md"
	@echo "make pictures  draw the pictures of the docs from real runs (some minutes)"
	@echo "make bench  measure what we claim about speed (some minutes); make soak, make campaigns take longer"
	@echo "make clean  remove .venv and everything else that was made here"

demo: .venv/.automl
	@$(PY) -m llm_optimize demo

test: .venv/.test
	@$(PY) -m pytest --numprocesses 3 $(ARGS)

lint: .venv/.test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

check: lint
	@$(PY) -m pytest --numprocesses 3 --cov $(ARGS)

docs: .venv/.docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs --quiet build --strict
	@echo "open site/index.html"

docs-serve: .venv/.docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve --livereload $(ARGS)

table: .venv/.test
	@$(PY) tests/hostile_table.py $(ARGS)

pictures: .venv/.test
	@$(PY) tests/pictures.py

bench: .venv/.test
	@$(PY) -m benchmarks $(ARGS)

soak: .venv/.test
	@$(PY) -m pytest -m soak
	@$(PY) -m benchmarks.sandbox --only soak --scorings 10000 $(ARGS)

campaigns: .venv/.test
	@$(PY) -m benchmarks.faults --load 8
	@$(PY) -m benchmarks.kills --load 8 $(ARGS)

clean:
	rm -rf .venv build dist site *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A .venv whose Python was removed or replaced is made, and filled, anew.
.venv/.automl .venv/.docs .venv/.test: .venv/.%: setup.cfg pyproject.toml $(PY) $(shell test -x $(PY) || echo anew)
	@echo "Installing llm_optimize[$*] into .venv (about a minute)"
	@$(PIP_INSTALL) --editable ".[$*]"
	@touch $@

anew:

$(PY):
	@for python in $(PYTHON); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Making .venv with $$("$$python" --version)"; \
	        exec "$$python" -m venv --clear .venv; \
	    fi; \
	done; \
	echo "No Python 3.11 or newer with venv among: $(PYTHON)" >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3-venv; macOS: brew install python)," >&2; \
	echo "or name yours: make test PYTHON=/path/to/python" >&2; \
	exit 1
