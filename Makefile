# make demo    one search on the embedded model, from nothing but Python and the package index
# make test    lint, types and tests; CI adds those marked as slow, by PYTEST_ADDOPTS="-m 'not exhaustive'"
# make bits    the laws about bits again, under other instruction sets and with two threads
# make docs    the documentation site, in site/
# make smoke   build the wheel and search with it, away from the checkout

PYTHON ?= python3
VENV   ?= .venv
PIP    := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

DEMO_PROMPT ?= a photo of two red stars
DEMO_FLAGS  ?= --model shapes/turbo --verifier shapes/critic --search best_of_n --compute 16
DEMO_OUT    := runs/demo

.PHONY: demo test lint unit bits docs bench wheel smoke clean
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

# What processors differ in: torch's own kernels and those of oneDNN, and how threads share a batch. torch does not check
# whether the processor has the instructions that it is told to use.
BITS := tests/testing/test_laws_hold_real.py tests/models tests/verifiers/embedding tests/runs/test_replay.py \
        tests/shapes/test_weights.py
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
AVX512 := ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE

bits: $(VENV)/installed-dev
	$(AVX2) $(VENV)/bin/python -m pytest --quiet --numprocesses 2 --dist loadfile $(BITS)
	if $(VENV)/bin/python -c "import sys, torch; sys.exit(torch.backends.cpu.get_cpu_capability() != 'AVX512')"; then \
	  $(AVX512) $(VENV)/bin/python -m pytest --quiet --numprocesses 2 --dist loadfile $(BITS); fi
	TEST_THREADS=2 $(VENV)/bin/python -m pytest --quiet --timeout 600 $(BITS)
	$(AVX2) TEST_THREADS=2 $(VENV)/bin/python -m pytest --quiet --timeout 600 $(BITS)

docs: $(VENV)/installed-dev
	$(VENV)/bin/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

bench: $(VENV)/installed
	@set -e; for script in $(filter-out benchmarks/clip_motion.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(VENV)/bin/python "$$script"; done

wheel: $(VENV)/installed-dev
	rm -rf dist build/lib && mkdir -p build
	$(VENV)/bin/python -m build --wheel > build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	@ls -lh dist/*.whl

# The wheel itself, with the dependencies of the development environment, in an empty folder.
smoke: wheel
	rm -rf build/smoke && mkdir -p build/smoke/empty
	$(PIP) --no-deps --target build/smoke/wheel dist/*.whl
	cd build/smoke/empty && export PYTHONPATH=../wheel PYTHONSAFEPATH=1 && \
	  $(CURDIR)/$(VENV)/bin/python -c "import gensearch; assert 'smoke' in gensearch.__file__, gensearch.__file__" && \
	  $(CURDIR)/$(VENV)/bin/python -m gensearch list presets > /dev/null && \
	  $(CURDIR)/$(VENV)/bin/python -m gensearch generate "$(DEMO_PROMPT)" --compute 2 --out run && \
	  $(CURDIR)/$(VENV)/bin/python -m gensearch replay run

clean:
	rm -rf .venv build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
