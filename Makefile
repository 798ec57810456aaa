# make demo    a plugin host runs into its crash, in GDB with gdbext
# make test    everything that must hold: style, types, all tests on both CPUs
# make damage  some minutes of damaged cores, ELF files, snapshots and bundles
# make unit    the tests that need no GDB
# make lint    style and types
# make bench   speed and memory, beside GDB's own commands
# make docs    docs/commands.md, from the commands' own help
# make clean   removes what the others made, except .venv
#
# Each of them works by itself on a fresh Debian 12 with git, make and python3. Debian packages are installed
# only where one is missing, as root or with sudo; Python packages go into .venv.

SHELL := /bin/bash
PYTHON ?= python3
GDB ?= gdb
BIN := .venv/bin

DEMO_PACKAGES := gdb gcc g++ libc6-dev make binutils python3-venv
TEST_PACKAGES := $(DEMO_PACKAGES) apache2-bin binutils-aarch64-linux-gnu chromium elfutils \
  g++-aarch64-linux-gnu gcc-aarch64-linux-gnu gdb-multiarch gdbserver libasan8 libc6-dbg \
  golang-go libc6-dev-arm64-cross libjemalloc2 lz4 musl-tools patchelf perl postgresql qemu-user \
  xz-utils zstd

DEMO_HOST := testprogs/build/x86_64/demo/textpipe
PYTEST := $(BIN)/python -m pytest

# Installs those of the named Debian packages that are missing.
define debian
@missing=(); for package in $(1); do \
  [ "$$(dpkg-query -W -f='$${db:Status-Status}' "$$package" 2>/dev/null)" = installed ] \
    || missing+=("$$package"); \
done; \
[ "$${#missing[@]}" = 0 ] && exit 0; \
sudo=(); [ "$$(id -u)" = 0 ] || sudo=(sudo); \
echo "Installing Debian packages: $${missing[*]}"; \
"$${sudo[@]}" apt-get update -qq && \
"$${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -qq -y --no-install-recommends "$${missing[@]}" >/dev/null
endef

define pip_install
@echo "Installing Python packages into .venv"
@[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear .venv
@$(BIN)/python -m pip install -q --disable-pip-version-check --editable '$(1)'
@touch $@
endef

.PHONY: demo test damage unit lint bench docs clean debian-demo debian-test

demo: debian-demo .venv/.for-demo
	@$(MAKE) --no-print-directory -C testprogs demo
	$(GDB) -nx -batch -ex 'directory "$(CURDIR)/gdbext"' -ex 'source gdbext' -ex run \
	  -ex plug-links -ex 'plug-got libwords' $(DEMO_HOST) </dev/null

test: lint
	@$(MAKE) --no-print-directory -C testprogs
	$(PYTEST) -n 2 --dist loadgroup tests

damage: debian-test .venv/.for-test
	@$(MAKE) --no-print-directory -C testprogs
	GDBEXT_DAMAGE=$${GDBEXT_DAMAGE:-600} $(PYTEST) -n 2 --timeout 1200 \
	  tests/live/test_report_damage.py tests/unit/test_findings_snapshot.py

unit: debian-test .venv/.for-test
	$(PYTEST) tests/unit tests/house

lint: debian-test .venv/.for-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

bench: debian-test .venv/.for-test
	$(BIN)/python bench/run.py $(ARGS)

docs: debian-demo .venv/.for-demo
	$(GDB) -nx -batch -ex 'set width 0' -ex 'directory "$(CURDIR)/gdbext"' -ex 'source gdbext' \
	  -x docs/print_commands.py > docs/commands.md

clean:
	$(MAKE) --no-print-directory -C testprogs clean
	rm -rf bench/build build dist gdbext.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

debian-demo:
	$(call debian,$(DEMO_PACKAGES))

debian-test:
	$(call debian,$(TEST_PACKAGES))

# The Debian packages come first: without python3-venv, Debian's python3 cannot make .venv.
.venv/.for-demo: pyproject.toml | debian-demo
	$(call pip_install,.)

.venv/.for-test: pyproject.toml | debian-test
	$(call pip_install,.[dev])
