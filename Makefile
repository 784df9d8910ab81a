# make demo    one search on the embedded model, from nothing but Python and the package index
# make test    lint, types and tests; CI adds those marked as slow, by PYTEST_ADDOPTS="-m 'not exhaustive'"

PYTHON ?= python3
VENV   ?= .venv
PIP    := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

DEMO_PROMPT ?= a photo of two red stars
DEMO_FLAGS  ?= --model shapes/turbo --verifier shapes/clip --search best_of_n --compute 16
DEMO_OUT    := runs/demo

.PHONY: demo test lint unit bench wheel clean
.DEFAULT_GOAL := demo

# The stamps are written last, so an interrupted or outdated environment is completed by the next call.
$(VENV)/installed: pyproject.toml setup.py
	@echo "installing gensearch into $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml setup.py
	@echo "installing gensearch and its development tools into $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed
	rm -rf $(DEMO_OUT)
	$(VENV)/bin/gensearch generate "$(DEMO_PROMPT)" $(DEMO_FLAGS) --out $(DEMO_OUT)
	@echo "The pictures and the report:"
	@ls $(DEMO_OUT)/best.png $(DEMO_OUT)/report.html

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

# Types take one core for most of a minute, so they are checked while the tests run.
test: $(VENV)/installed-dev
	@$(MAKE) --no-print-directory --jobs 2 lint unit

unit: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile

bench: $(VENV)/installed
	@set -e; for script in $(filter-out benchmarks/clip_motion.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(VENV)/bin/python "$$script"; done

wheel: $(VENV)/installed-dev
	$(VENV)/bin/python -m build --wheel
	@ls -lh dist/*.whl

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
