# make book       build the site into _build/html
# make pdf        set the whole book with LaTeX, into _build/latex
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
BINDER := $(VENV)-binder
BINDER_READY := $(BINDER)/.ready
CHAPTERS := $(wildcard chapters/*.ipynb)
SITE := _build/html/index.html
PDF := _build/latex/spatial-transformers.pdf
TEX_PACKAGES := texlive-xetex texlive-fonts-recommended latexmk fonts-freefont-otf fonts-dejavu-core
BROWSER_TESTS := $(addprefix tests/test_,site.py access.py keyboard.py touch.py lab.py)

# One thread: results do not depend on the number of cores.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0
# No progress bars, as among the stored outputs.
nbval: export TQDM_DISABLE := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help book pdf latex tex-packages test lint unit style nbval site browser notebooks lab clean

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

# The environment that Binder makes of its files, with the kernel that its image brings
# along. Where PyTorch's index cannot be reached, pip waits and warns for each package:
# hence few retries, and no warnings unless it fails.
$(BINDER_READY): binder/requirements.txt requirements.txt
	$(PYTHON) -m venv --clear $(BINDER)
	PIP_RETRIES=1 $(BINDER)/bin/python -m pip install --quiet --no-compile \
	  --requirement binder/requirements.txt "$$(grep ^ipykernel== requirements.txt)" \
	  2> $(BINDER)/pip.log || { cat $(BINDER)/pip.log >&2; exit 1; }
	$(BINDER)/bin/python -m ipykernel install --sys-prefix --name binder
	@touch $@

book: $(READY)
	$(BIN)/jupyter-book build .
	@echo "Open $(SITE) in a browser."

# The PDF's date is that of the last commit, so the same book gives the same file.
pdf: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
pdf: latex $(READY)
	rm -rf _build/latex
	$(BIN)/jupyter-book build . --builder latex -W -n --keep-going
	cd _build/latex && latexmk -xelatex -silent -halt-on-error $(notdir $(PDF:.pdf=))
	@! grep -E "Missing character|Overfull .hbox|undefined references" $(PDF:.pdf=.log)
	@echo "Open $(PDF)."

latex:
	@xelatex --version >/dev/null 2>&1 && latexmk --version >/dev/null 2>&1 \
	  || { echo "The PDF needs LaTeX. On Debian, as root: apt-get install" \
	  "--no-install-recommends $(TEX_PACKAGES)"; exit 1; }

tex-packages:
	@echo $(TEX_PACKAGES)

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

# Each chapter alone in an empty folder, two at a time. What setuptools leaves behind
# would let a file stay in the package after it is gone.
nbval: $(READY) $(BINDER_READY)
	@echo; echo "== Notebooks: alone, as on Binder, every cell gives its stored output again =="
	rm -rf build stn_tutorial.egg-info
	PATH="$(abspath $(BINDER))/bin:$$PATH" PIP_QUIET=1 binder/postBuild
	rm -rf build stn_tutorial.egg-info
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT INT TERM && for path in $(CHAPTERS); do \
	  alone="$$folder/$$(basename $$path .ipynb)"; mkdir "$$alone" && cp $$path "$$alone" || exit; \
	done && JUPYTER_PATH="$(abspath $(BINDER))/share/jupyter" $(BIN)/pytest \
	  --numprocesses 2 --dist loadfile \
	  --nbval --nbval-kernel-name binder --config-file pyproject.toml "$$folder"

site: $(READY)
	@echo; echo "== Site: built from clean, no warning allowed =="
	rm -rf _build/html _build/.doctrees  # not the PDF, which the site offers
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	@echo; echo "== Site: built again elsewhere, byte for byte the same =="
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT INT TERM && cp -R * "$$folder" \
	&& (cd "$$folder" && rm -rf _build/html _build/.doctrees \
	  && PYTHONHASHSEED=1 $(abspath $(BIN))/jupyter-book build . --all --quiet) \
	&& diff -rq _build/html "$$folder/_build/html"

browser: $(READY)
	@echo; echo "== Site and figures in a browser =="
	$(BIN)/pytest $(BROWSER_TESTS)

notebooks: $(READY)
	$(BIN)/python tools/notebooks.py run

lab: $(READY)
	$(BIN)/jupyter lab chapters

clean:
	rm -rf _build
