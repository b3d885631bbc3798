# One entry point for users and CI. Everything below sets itself up in .venv with Python >= 3.11 and make alone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-kernels lint docs bench clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "mapcount needs Python >= 3.11, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP)  ## the main job: a machine audited, a story on all flavours, one beside a real kernel's answers
	@$(BIN)/mapcount audit --from captures/demo.capture
	@$(BIN)/mapcount run scenarios/prefork.scn --flavour all
	@$(BIN)/mapcount run scenarios/recorded/c_3_parent1st.anon64k.scn --on recording:recordings/no-page-mapcount.jsonl

test: $(STAMP)  ## the whole test suite (under 5 minutes on 2 cores)
	@$(BIN)/python -m pytest -n auto

test-browser: $(STAMP)  ## the pages in a real browser: Debian's chromium, installed if it is missing
	@command -v chromium >/dev/null || if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; \
	  else echo "chromium is missing: install Debian's package chromium, or run this as root" >&2; exit 3; fi
	@MAPCOUNT_BROWSER=$$(command -v chromium) $(BIN)/python -m pytest -rs tests/browser

KERNELS ?= build/kernels

test-kernels: $(STAMP)  ## all stories in two real kernels, built and booted here (first time: half an hour)
	@$(BIN)/python tools/build_kernels.py $(KERNELS)
	@MAPCOUNT_KERNELS=$(abspath $(KERNELS)) $(BIN)/python -m pytest tests/kernels

lint: $(STAMP)  ## ruff, mypy --strict, and documentation that is generated is current
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tools/make_docs.py --check

docs: $(STAMP)  ## write the generated parts of the documentation anew
	@$(BIN)/python tools/make_docs.py

bench: $(STAMP)  ## the benchmarks, each with its peer measured in the same run
	@$(BIN)/python benchmarks/fork_unmap.py
	@$(BIN)/python benchmarks/folio_reader.py
	@$(BIN)/python benchmarks/audit.py
	@$(BIN)/python benchmarks/replay.py
	@$(BIN)/python benchmarks/check.py
	@$(BIN)/python benchmarks/races.py
	@$(BIN)/python benchmarks/top.py

clean:  ## remove everything that make created, but for built kernels
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
