# make book       build the site into _build/html
# make test       prove the book: code, notebooks, site
# make notebooks  run all chapters in place and store their outputs
# make lab        open the chapters in JupyterLab
#
# Each command first makes the environment .venv when it is missing or out of
# date. Another Python or folder: make book PYTHON=python3.12 VENV=/some/folder

VENV ?= .venv
PYTHON ?= python3

BIN := $(VENV)/bin
READY := $(VENV)/.ready
CHAPTERS := $(wildcard chapters/*.ipynb)
SITE := _build/html/index.html
BROWSER_TESTS := tests/test_site.py tests/test_access.py tests/test_touch.py tests/test_lab.py

# One thread: results do not depend on the number of cores.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0
# No progress bars, as among the stored outputs.
nbval: export TQDM_DISABLE := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help book test lint unit style nbval site browser notebooks lab clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	  || { echo "The book needs Python 3.11, 3.12 or 3.13, but '$(PYTHON)' is" \
	  "$$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

book: $(READY)
	$(BIN)/jupyter-book build .
	@echo "Open $(SITE) in a browser."

test: lint unit style nbval site browser
	@echo; echo "Everything passed."

lint: $(READY)
	@echo; echo "== Code style and spelling =="
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

unit: $(READY)
	@echo; echo "== Unit tests =="
	$(BIN)/pytest tests $(addprefix --ignore=,tests/test_notebooks.py $(BROWSER_TESTS))

style: $(READY)
	@echo; echo "== Notebooks: style, and outputs no older than the code =="
	$(BIN)/pytest tests/test_notebooks.py

nbval: $(READY)
	@echo; echo "== Notebooks: every cell gives its stored output again =="
	$(BIN)/pytest --nbval --nbval-current-env $(CHAPTERS)

site: $(READY)
	@echo; echo "== Site: built from clean, no warning allowed =="
	rm -rf _build
	$(BIN)/jupyter-book build . --all -W -n --keep-going

browser: $(READY)
	@echo; echo "== Site and figures in a browser =="
	$(BIN)/pytest $(BROWSER_TESTS)

notebooks: $(READY)
	$(BIN)/python tools/notebooks.py run

lab: $(READY)
	$(BIN)/jupyter lab chapters

clean:
	rm -rf _build
