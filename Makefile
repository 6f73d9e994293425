# make check        within a minute: style, types, form, and the tests near your change
# make chapter N=3  run chapter 3, build its page, say where to look
# make book         build the site into _build/html
# make pdf          set the whole book with LaTeX, into _build/latex
# make test         prove the book: code, notebooks, site
# make notebooks    run all chapters in place and store their outputs
# make lab          open the chapters in JupyterLab
# make watch        beside it: bundle the figures' JavaScript whenever it is saved
# make lock         choose the exact versions again, after a change of requirements.txt
#
# Each command first makes the environment .venv where it is missing, or brings it up to
# date. Another Python or folder: make book PYTHON=python3.12 VENV=/some/folder

VENV ?= .venv
PYTHON ?= python3

# Quoted, since a folder's name may hold a space.
BIN := "$(VENV)/bin"
BINDER := "$(VENV)-binder"
# Before a command that itself looks for programs, such as node.
ON_PATH = bin=$$(cd $(BIN) && pwd) && PATH="$$bin:$$PATH"
CHAPTERS := $(wildcard chapters/*.ipynb)
# It takes as long as all others together.
LONGEST := chapters/05-straightening-digits.ipynb
SITE := _build/html/index.html
# One of the plain notebooks that the site offers, which hold the chapters' code again.
PLAIN := _build/html/notebooks/01-affine-transforms.ipynb
PDF := _build/latex/spatial-transformers.pdf
TEX_PACKAGES := texlive-xetex texlive-fonts-recommended latexmk fonts-freefont-otf fonts-dejavu-core
# What `make check` compares your files with, to find the tests near your change.
SINCE ?= HEAD
# Chapter 3 for N=3, ten-minutes for N=ten.
CHAPTER = $(firstword $(wildcard chapters/0$(N)-*.ipynb chapters/$(N)*.ipynb))
# On two cores, as most machines that run checks have.
TWO := --numprocesses 2 --dist

# One thread: results do not depend on the number of cores.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0
# Some machines forbid Python to keep what it has compiled: then every process compiles
# all that it imports again.
unexport PYTHONDONTWRITEBYTECODE
# No progress bars, as among the stored outputs.
nbval: export TQDM_DISABLE := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help environment binder-environment check chapter book pdf latex tex-packages \
  test lint types javascript near unit style nbval site browser links notebooks lab watch lock clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

environment:
	@$(PYTHON) tools/set_up.py "$(VENV)"

binder-environment: environment
	@$(BIN)/python tools/set_up.py --binder $(BINDER)

check: lint types javascript style near
	@echo; echo "Nothing wrong here. What takes longer is in: make test"

chapter: environment
	@test -f "$(CHAPTER)" || { echo "Which chapter? For instance: make chapter N=3"; exit 1; }
	$(BIN)/python tools/notebooks.py run $(CHAPTER)
	$(BIN)/jupyter-book build . --quiet
	@echo "Look at: file://$(subst $() $(),%20,$(CURDIR))/_build/html/$(CHAPTER:.ipynb=.html)"

book: environment
	$(BIN)/jupyter-book build .
	@echo "Open $(SITE) in a browser."

# The PDF's date is that of the last commit, so the same book gives the same file.
pdf: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
pdf: latex environment
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

test: lint types javascript unit style site nbval browser
	@echo; echo "Everything passed."

lint: environment
	@echo; echo "== Code style and spelling =="
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: environment
	@echo; echo "== Types =="
	$(BIN)/mypy

javascript: environment node_modules/.package-lock.json
	@echo; echo "== JavaScript: types, style, and a bundle no older than its source =="
	$(ON_PATH) npm run --silent check

node_modules/.package-lock.json: package.json package-lock.json | environment
	$(ON_PATH) npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

near: environment node_modules/.package-lock.json
	@echo; echo "== Unit tests: the core's, and those near what has changed since $(SINCE) =="
	$(BIN)/pytest --quiet $(TWO) worksteal $$($(BIN)/python tools/near.py "$(SINCE)")

unit: environment node_modules/.package-lock.json
	@echo; echo "== Unit tests =="
	$(BIN)/pytest $(TWO) loadfile tests --ignore tests/test_notebooks.py --ignore tests/browser

style: environment
	@echo; echo "== Notebooks: style, and outputs no older than the code =="
	$(BIN)/pytest --quiet tests/test_notebooks.py

$(PLAIN): chapters/$(notdir $(PLAIN)) | environment
	$(BIN)/jupyter-book build . --quiet

# Each notebook alone in an empty folder, two at a time, the longest first, and by a name
# of its own, by which pytest knows it. What setuptools leaves behind would let a file stay
# in the package after it is gone.
nbval: environment binder-environment $(PLAIN)
	@echo; echo "== Notebooks: alone, as on Binder, every cell gives its stored output again =="
	rm -rf build stn_tutorial.egg-info
	binder=$$(cd $(BINDER) && pwd) && PATH="$$binder/bin:$$PATH" PIP_QUIET=1 binder/postBuild
	rm -rf build stn_tutorial.egg-info
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT INT TERM && set -- \
	&& for path in $(LONGEST) $(filter-out $(LONGEST),$(CHAPTERS)) $(PLAIN); do \
	  name=$$(echo $$path | tr / -); alone="$$folder/$$name"; \
	  mkdir "$$alone" && cp $$path "$$alone/$$name" && set -- "$$@" "$$alone" || exit; \
	done && binder=$$(cd $(BINDER) && pwd) \
	&& JUPYTER_PATH="$$binder/share/jupyter" $(BIN)/pytest \
	  $(TWO) loadfile --no-loadscope-reorder \
	  --nbval --nbval-kernel-name binder --config-file pyproject.toml "$$@"

site: environment node_modules/.package-lock.json
	@echo; echo "== Site: built from clean, no warning allowed; elsewhere, byte for byte the same =="
	$(BIN)/python site/build_twice.py

browser: environment node_modules/.package-lock.json
	@echo; echo "== Site and figures in a browser =="
	$(BIN)/pytest $(TWO) worksteal tests/browser

# Once a week on GitHub, not in `make test`: other people's pages may be down for a while.
# What the launch and edit buttons open is not there before it is pushed, and where DOIs
# lead, publishers turn programs away.
links: environment
	$(BIN)/linkchecker --check-extern --no-warnings --threads 4 \
	  --ignore-url '^https://(mybinder\.org|colab\.research\.google\.com|doi\.org)/' \
	  --ignore-url '/(blob|edit|issues/new|tree)(/|\?)' _build/html/chapters/index.html

notebooks: environment
	$(BIN)/python tools/notebooks.py run

# A figure in an open notebook changes with its files in widgets/built.
lab: export ANYWIDGET_HMR := 1
lab: environment
	$(BIN)/jupyter lab chapters

watch: environment node_modules/.package-lock.json
	$(ON_PATH) npm run watch

# What stands in the lock stays as it is, as far as requirements.txt allows. For the
# newest of everything, remove the file first.
lock: environment
	$(BIN)/python -m uv pip compile requirements.txt --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-package torch --no-emit-index-url --no-annotate \
	  --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf _build
