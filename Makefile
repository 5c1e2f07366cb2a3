# facenb: `make figures` and `make test` each do all the set-up they need. `make help` lists it all.

PYTHON := python3
VENV := .venv
PROFILE := laptop
NOTEBOOK :=
SEED := 0
DEVICE := cpu
GENERATOR :=
MINUTES := 12
OUT := build/gpu

# Threads that wait by spinning slow each other down several times where anything else runs.
export OMP_WAIT_POLICY ?= PASSIVE
# Feature maps of some 25 MB come and go. Handing them back to the system each time, in small pages,
# costs a fifth of a scoring (glibc; ignored elsewhere).
export THP_MEM_ALLOC_ENABLE ?= 1
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824

PY := $(VENV)/bin/python
STAMP := $(VENV)/.facenb-installed
.DEFAULT_GOAL := help
.PHONY: help setup assets figures test lab bench directions gpu clean

help:
	@echo 'make figures    execute the notebooks and regenerate figures/ (PROFILE=smoke: build/smoke/)'
	@echo 'make test       run the tests'
	@echo 'make lab        open JupyterLab with the tour and the photographs, sources opening as notebooks'
	@echo 'make bench      measure speed and memory, and write the table'
	@echo 'make directions learn the boundaries and transformers that ship again (05: python -m scripts.train_directions)'
	@echo 'make gpu        on a CUDA machine, in MINUTES: check and time the kernel, train the larger profile'
	@echo 'make setup      the environment in $(VENV) with pinned packages, and the outside files'
	@echo 'make assets     fetch and verify the outside files (python -m facenb.assets lists them)'
	@echo 'make clean      remove what was built (not $(VENV), not figures/, not the cache)'
	@echo 'make help       this list'
	@echo
	@echo 'Each does the set-up first where it is missing. Variables, with their present values:'
	@echo '  PROFILE=$(PROFILE)     smoke (tests) | laptop | paper (a GPU, hours)'
	@echo '  NOTEBOOK=$(NOTEBOOK)           which notebooks, such as NOTEBOOK=02 or NOTEBOOK="00 02"; all if empty'
	@echo '  SEED=$(SEED)'
	@echo '  DEVICE=$(DEVICE)          cpu | cuda | mps'
	@echo '  GENERATOR=$(GENERATOR)           a name or a file of weights, in place of each notebook'"'"'s own; figures go to build/ then'
	@echo '  MINUTES=$(MINUTES)         of make gpu, whose results go to OUT=$(OUT)'
	@echo '  PYTHON=$(PYTHON)      the interpreter, 3.11 or newer, that $(VENV) is made with'

# The stamp is renewed when the pins change: pip then brings the environment to the new versions.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'error: there is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is `$(PYTHON) -V 2>&1`; Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { \
	  echo 'error: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv'; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || { echo 'Making $(VENV)'; $(PYTHON) -m venv --clear $(VENV); }
# compat: a path in place of an import hook, which a folder called facenb above would come before
	@echo 'Installing the pinned packages into $(VENV) (a few minutes the first time)'
	$(PY) -m pip install --disable-pip-version-check --quiet -c constraints.txt \
	  --config-settings editable_mode=compat -e '.[test,captions,cluster]'
	@$(PY) -c 'from facenb.lab import install_settings; install_settings()'
	@touch $@

setup: $(STAMP) assets

assets: $(STAMP)
	@$(PY) -m facenb.assets fetch

figures: setup
	$(PY) -m facenb.run $(NOTEBOOK) --profile $(PROFILE) --seed $(SEED) --device $(DEVICE) $(if $(GENERATOR),--generator '$(GENERATOR)')
	@$(PY) -m scripts.claims

test: setup
	$(PY) -m pytest

lab: setup
	$(PY) -m facenb.lab

bench: setup
	$(PY) -m benchmarks

directions: setup
	$(PY) -m scripts.learn_boundaries --out facenb/data/interfacegan_mobilestylegan-ffhq-1024.safetensors
	$(PY) -m scripts.learn_boundaries --generator digiface-dcgan-64 --n 12000 --confident 0.13 --out facenb/data/interfacegan_digiface-dcgan-64.safetensors
	$(PY) -m scripts.train_transformers --out facenb/data/transformers_mobilestylegan-ffhq-1024.safetensors
	$(PY) -m scripts.train_transformers --generator digiface-dcgan-64 --out facenb/data/transformers_digiface-dcgan-64.safetensors
	$(PY) -m scripts.train_fields attributes --out facenb/data/sgf_attributes_mobilestylegan-ffhq-1024.safetensors
	$(PY) -m scripts.train_fields keypoints --out facenb/data/sgf_keypoints_mobilestylegan-ffhq-1024.safetensors
	$(PY) -m scripts.train_fields captions --out facenb/data/sgf_captions_mobilestylegan-ffhq-1024.safetensors

# No assets here: the machine may have no network. It says which cached files it needs.
gpu: $(STAMP)
	$(PY) -m scripts.gpu --minutes $(MINUTES) --out '$(OUT)'

clean:
	rm -rf build .pytest_cache .ruff_cache *.egg-info
	find facenb tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
	find figures -name '*.failed.ipynb' -delete
