# Everything happens in .venv; nothing but Python >= 3.11 with its venv module is needed.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
ROOMS := catalogs pipeline models cluster jobs
# One thread a process: results then do not depend on the machine's cores, and workers do not fight for them.
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: help setup demo test lint chaos bench fuzz lock clean
help:           ## this list
	@grep -E '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: .venv/.installed   ## what demo and test need: .venv from requirements.lock
	@echo "installed in .venv; next: make demo, or . .venv/bin/activate"

demo: .venv/.installed    ## simulate a sector, run the main job on it, print the catalogue and a report
	$(PY) -m jobs.demo $(ARGS)

test: .venv/.installed    ## the suite; ARGS="-k name" picks tests
	$(THREADS) $(PY) -m pytest $(ARGS)

lint: .venv/.installed    ## ruff, import-linter, docstrings, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports
	$(PY) -m numpydoc lint $$(find catalogs pipeline models cluster -name '*.py')
	$(PY) -m mypy

chaos: .venv/.installed   ## kill workers and drivers for minutes, compare bytes
	$(THREADS) $(PY) -m pytest -m chaos $(ARGS)

fuzz: .venv/.installed    ## all property tests, the long ones too
	$(THREADS) $(PY) -m pytest tests/properties -m '' $(ARGS)

bench: .venv/.installed   ## speed, size and memory as ratios measured in one run
	$(THREADS) $(PY) -m tests.benchmarks $(ARGS)

# uv does not read pip's configuration, so it is told where pip would look (a CPU build of torch offered locally).
.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  f"skysift needs Python 3.11 to 3.13, and $(PYTHON) is {v.major}.{v.minor}: make PYTHON=/path/to/python3.12")'
	@test -x $(PY) || $(PYTHON) -m venv .venv || \
	  { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@set -e; if command -v uv >/dev/null; then \
	  option() { printenv "PIP_$$1" || $(PY) -m pip config get "global.$$2" 2>/dev/null || true; }; \
	  set -- --index-strategy unsafe-best-match; \
	  for at in $$(option FIND_LINKS find-links); do set -- "$$@" --find-links "$$at"; done; \
	  for at in $$(option INDEX_URL index-url); do set -- "$$@" --index-url "$$at"; done; \
	  for at in $$(option EXTRA_INDEX_URL extra-index-url); do set -- "$$@" --extra-index-url "$$at"; done; \
	  SSL_CERT_FILE="$${SSL_CERT_FILE:-$$(option CERT cert)}"; \
	  if [ -n "$$SSL_CERT_FILE" ]; then export SSL_CERT_FILE; else unset SSL_CERT_FILE; fi; \
	  uv pip install --quiet --python $(PY) "$$@" -r requirements.lock; \
	else $(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock; fi
	@touch $@

# Resolve pyproject.toml anew (CONSTRAINTS=file holds versions back), on the oldest Python supported. The version of
# torch stays plain: "+cpu" is one machine's build, and the CUDA libraries are what the plain name brings elsewhere.
lock:           ## write requirements.lock from pyproject.toml
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*p["dependencies"], *p["optional-dependencies"]["dev"], "setuptools", sep="\n")' > .venv-lock/direct.txt
	.venv-lock/bin/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -r .venv-lock/direct.txt
	{ echo '# Written by `make lock` from pyproject.toml; do not edit.'; \
	  .venv-lock/bin/python -m pip freeze --all | sed -E 's/\+cpu$$//' | grep -v -i -E '^(pip==|wheel==|nvidia|cuda|triton)'; } > requirements.lock
	rm -rf .venv-lock

clean:          ## remove caches and the demo's output, not .venv and not workspace
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .venv-lock
	find $(ROOMS) tests -name __pycache__ -type d -exec rm -rf {} +
