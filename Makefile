# The commands of a checkout. `make run` and `make test` set up what they need by themselves.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := python3 python3.13 python3.12 python3.11
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS :=
# What is checked without a compiled program.
QUICK := tests/catalog tests/check tests/diagnostics tests/syntax tests/test_cli.py \
	tests/test_cli_fmt.py tests/test_cli_plan.py tests/test_docs.py tests/test_explain.py \
	tests/test_explicit.py tests/test_highlight.py tests/test_imports.py tests/test_use.py

.DEFAULT_GOAL := help
.PHONY: help run test quick slow lint format bench compare fuzz docs clean

help:
	@echo "make run      install into $(VENV) and run specs/first.ev3"
	@echo "make test     install into $(VENV) and run the whole suite"
	@echo "make quick    what needs no compiled program: a minute or two, for every commit"
	@echo "make slow     the tests that take minutes, which make test leaves out"
	@echo "make lint     ruff and mypy alone"
	@echo "make format   put every file into the layout that lint expects"
	@echo "make bench    compare speeds; options as in: make bench ARGS=--help"
	@echo "make compare  a search beside plain training on four sets; takes minutes"
	@echo "make fuzz     damaged specs, tables, reports and checkpoints; ARGS=--help; takes minutes"
	@echo "make docs     write the pages of docs/ that are made of the catalogue and the codes"
	@echo "make clean    remove $(VENV) and all that was built or cached"
	@echo "Another Python: make run PYTHON=/path/to/python3.12"

run: $(VENV)/.installed
	@$(BIN)/ev3lang run specs/first.ev3

test: lint
	@echo "== pytest"
	@$(BIN)/python -m pytest -q -n 2 -m "not slow and not wheel and not exact"
	@echo "== pytest, what has to be equal to the last bit"
	@XLA_FLAGS= $(BIN)/python -m pytest -q -n 2 -m "exact and not slow"
	@echo "== ev3lang check specs"
	@$(BIN)/ev3lang check specs
	@echo "== the wheel, outside the checkout"
	@$(BIN)/python -m pytest -q -m wheel tests/test_packaging.py
	@echo "== all passed"

quick: lint
	@$(BIN)/python -m pytest -q -n 2 -m "not slow" $(QUICK)
	@$(BIN)/ev3lang check specs

slow: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q -n 2 -m slow

lint: $(VENV)/.installed-dev
	@echo "== ruff check"
	@$(BIN)/ruff check .
	@echo "== ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "== mypy"
	@$(BIN)/mypy

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks $(ARGS)

compare: $(VENV)/.installed
	@$(BIN)/python -m benchmarks compare $(ARGS)

fuzz: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.fuzz $(ARGS)

docs: $(VENV)/.installed
	@$(BIN)/python -m ev3lang.docs

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find ev3lang tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv puts there: a set-up that was cut short is done again.
$(BIN)/pip:
	@python="$(PYTHON)"; \
	for name in $${python:-$(PYTHONS)}; do \
		if "$$name" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then \
			echo "making $(VENV) with $$("$$name" --version)"; \
			exec "$$name" -m venv $(VENV); \
		fi; \
	done; \
	echo "ev3lang needs Python 3.11 or newer, and none of these is: $${python:-$(PYTHONS)}." >&2; \
	echo "Install one, or name it: make run PYTHON=/path/to/python3.12" >&2; \
	exit 1

$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo "installing ev3lang into $(VENV) (once; a minute or two)"
	@$(INSTALL) --editable .
	@$(BIN)/python -m compileall -q ev3lang
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	@echo "installing ev3lang and what its tests need into $(VENV) (once; a minute or two)"
	@$(INSTALL) --editable ".[dev]"
	@$(BIN)/python -m compileall -q ev3lang
	@touch $@ $(VENV)/.installed
