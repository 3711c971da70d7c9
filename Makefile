# make demo               the main job over a made-up shop
# make demo DATA=folder   the same over a MovieLens folder
# make test               the whole suite     (make test-slow: the long checks)
# make check              lint, format, types
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?=

.PHONY: demo test test-slow check clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py $(if $(DATA),--data "$(DATA)")

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

# mypy reads the package as it is installed, so the checks have an environment of their own.
check:
	test -x $(VENV)-check/bin/python || $(PYTHON) -m venv $(VENV)-check
	$(VENV)-check/bin/python -m pip install --quiet ".[dev]"
	$(VENV)-check/bin/python -m pip install --quiet --force-reinstall --no-deps .
	$(VENV)-check/bin/ruff check .
	$(VENV)-check/bin/ruff format --check .
	$(VENV)-check/bin/mypy -p itemspace

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) $(VENV)-check build dist demo-data *.egg-info .mypy_cache .pytest_cache .ruff_cache
