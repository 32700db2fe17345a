# `make` lists the targets. Everything they make is in .venv and .cache.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup runtime runtime-setuid fuse channel mpich slurm images env demo demo-slurm test test-setuid fuzz lint types bench ci clean

PYTHON ?= python3

# A machine's own runtime and squashfs-tools are used; where it has none, a private Apptainer.
apptainer := .cache/apptainer
own_runtime := $(shell PATH=$${PATH//"$(CURDIR)/$(apptainer)/bin:"/}; command -v mksquashfs >/dev/null && \
	{ command -v singularity || command -v apptainer; })
bin := $(CURDIR)/.venv/bin$(if $(own_runtime),,:$(CURDIR)/$(apptainer)/bin)
pip := .venv/bin/python -m pip install --quiet --disable-pip-version-check
run := PATH='$(bin)':"$$PATH"

# All tests run in two processes at a time, more would wait: builds use several processors each.
all := --numprocesses=2

shell_files = $(shell grep -lE '^\#!.*[/ ](ba)?sh' tools/* .ci/run) $(wildcard wrapper/templates/*.sh)

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 16

setup: .venv/.stamp ## the programs and what their development needs, in .venv
	@:
# uv is four times as fast as pip, but does not know pip's configuration (a private index).
.venv/.stamp: pyproject.toml
	@echo 'setting up .venv (the programs and what their development needs)' >&2
	@[[ -x .venv/bin/python ]] || $(PYTHON) -m venv .venv
	@$(pip) uv
	@.venv/bin/uv pip install --quiet --python .venv --editable '.[dev]' 2>/dev/null || \
		$(pip) --editable '.[dev]'
	@touch $@

runtime: ## Apptainer and squashfs-tools, where the machine has none
ifeq ($(own_runtime),)
	@tools/get-apptainer $(apptainer)
else
	@echo 'using $(own_runtime)'
endif

runtime-setuid: ## a set-uid Apptainer for the tests (as root, with mmdebstrap; some minutes)
	@tools/get-apptainer $(apptainer)
	@tools/build-setuid-apptainer .cache/apptainer-setuid

fuse: ## let ordinary users mount images (as root, where /dev/fuse is root's alone)
	@[[ $$EUID -eq 0 ]] || { echo 'make fuse: only root can do this' >&2; exit 1; }
	@chmod 666 /dev/fuse

channel: setup ## a small conda channel of real packages, for tests and first steps
	@$(run) python -m tests.channel .cache/channel

mpich: setup ## Debian's MPICH, without installing it, for tests
	@$(run) python -m tests.mpich .cache/mpich

slurm: setup ## Debian's Slurm, without installing it, for tests
	@$(run) python -m tests.slurm .cache/slurm

images: setup runtime ## the base images of base_images/, in .cache/images
	@for name in $(basename $(notdir $(wildcard base_images/*.def))); do \
		[[ -e .cache/images/$$name.sif ]] || \
		$(run) CONTAINERIZE_CACHE_DIR=.cache CONTAINERIZE_DEBIAN_MIRROR=$$(tools/debian-mirror) \
		containerize base build $$name --output .cache/images/$$name.sif; done

env: ## eval "$(make env)" puts all of this on PATH
	@printf 'export PATH=%q:$$PATH\n' '$(bin)'

demo: setup runtime channel ## see it work
	@$(run) tools/demo

demo-slurm: setup runtime channel mpich slurm ## see ranks of MPI start under a Slurm of two nodes
	@$(run) tools/demo-slurm

test: setup runtime channel mpich slurm ## all tests (ARGS='tests/unit -k lock' for some)
	@$(run) python -m pytest $(or $(ARGS),$(all))

fuzz: setup ## 100,000 broken inputs for every reader (ARGS='manifest --count 1000')
	@$(run) python -m tests.fuzz --count 100000 $(ARGS)

test-setuid: setup runtime runtime-setuid channel ## the tests with a set-uid runtime (as root)
	@$(run) python -m pytest -m setuid $(ARGS)

lint: setup ## ruff and shellcheck
	@$(run) ruff check
	@$(run) ruff format --check
	@$(run) shellcheck $(shell_files)

types: setup ## mypy
	@$(run) mypy

bench: setup runtime channel mpich ## measure starts, builds and images
	@$(if $(findstring --plots,$(ARGS)),.venv/bin/uv pip install --quiet --python .venv --editable '.[bench]')
	@$(run) python -m benchmarks $(ARGS)

ci: lint types test ## what has to pass

clean: ## remove .venv and .cache
	@rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache
