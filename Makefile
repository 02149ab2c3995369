# The whole life of the project in one file: `make run` and `make test` set up what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
C_SOURCES := $(wildcard csrc/*.c)
CORE_SOURCES := setup.py pyproject.toml $(wildcard csrc/*.[ch] csrc/include/*.h) $(wildcard edgemon/_core/*.p[yx][xd])
C_STRICT := -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Werror

ARCH   ?= host
# As in the names of the files that are made here.
HOST   := $(patsubst armv7l,armhf,$(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m))))

.PHONY: help run test test-search test-connectors test-slow test-storm test-packages a-binary test-soak test-arm test-vm failures fuzz lint bench build wheel binary ks-null clean
help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("edgemon needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "no venv: on Debian, apt-get install python3-venv python3-dev gcc"; exit 1; }

# The extensions are rebuilt when C or Cython sources change; an extra is installed without building them again.
# editable_mode=compat: a path in a .pth file, and not a finder that every process would import.
$(VENV)/.base: $(BIN)/python $(CORE_SOURCES)
	@echo "building edgemon into $(VENV): a minute or two"
	$(BIN)/python -m pip install --quiet --editable . --config-settings editable_mode=compat
	@touch $@
$(VENV)/.%: $(VENV)/.base
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$*"], sep="\n")' \
		| $(BIN)/python -m pip install --quiet --requirement /dev/stdin
	@touch $@

run: $(VENV)/.demo  ## set up, then the demonstration: socket to stored batch, drift, an outage, a report
	$(BIN)/edgemon demo

test: $(VENV)/.test  ## set up, then the tests (under ten minutes)
	$(BIN)/python -m pytest -n 4 --dist loadfile

test-search: $(VENV)/.test  ## the same tests, their random cases drawn anew
	$(BIN)/python -m pytest -n 4 --dist loadfile --hypothesis-profile=search

test-connectors: $(VENV)/.test $(VENV)/.test-connectors  ## the connectors with every framework (PyTorch, Keras, JAX: two gigabytes)
	$(BIN)/python -m pytest -n 0 tests/connectors

test-slow: $(VENV)/.test a-binary  ## the slow proofs of the spool, and the footprint budget of this machine's binary
	$(BIN)/python -m pytest -m slow -n 0 --hypothesis-profile=search tests/spool tests/benchmarks

test-storm: $(VENV)/.test  ## kill -9, power cuts, outages and hostile clients, in hundreds; a thousand uploads (parts need root)
	$(BIN)/python -m pytest -m slow -n 0 tests/e2e tests/remote tests/ship

test-packages: $(VENV)/.test a-binary  ## this machine's files in containers with systemd and in little memory (root)
	$(BIN)/python -m pytest -m slow -n 0 tests/packaging --ignore=tests/packaging/test_arm.py --ignore=tests/packaging/test_vm.py

# For those that try it: what is there is taken.
a-binary:
	[ -e "$$(echo dist/edgemon-*-linux-$(HOST))" ] || $(MAKE) --no-print-directory binary ARCH=host

test-soak: $(VENV)/.test  ## a day of a device in nine minutes: memory flat, nothing lost, no false alarm (needs mosquitto and a free core)
	$(BIN)/python -m pytest -m slow -n 0 -s tests/soak

failures: $(VENV)/.test  ## inject every failure of docs/failures.md, and write its table
	rm -f build/failures.jsonl && mkdir -p build
	EDGEMON_FAILURES=build/failures.jsonl $(BIN)/python -m pytest -n 2 tests/failures --deselect tests/failures/test_page.py
	$(BIN)/python -m tests.failures.table build/failures.jsonl

fuzz: $(VENV)/.test  ## fuzz the decoders of the ingest protocol (clang; EDGEMON_FUZZ_SECONDS of each, 240)
	$(BIN)/python -m pytest -n 0 -m slow tests/ingest/test_fuzz.py

test-arm: $(VENV)/.test  ## arm64 and armhf binaries, run under emulation (root, where `make binary` has not made them)
	[ -e "$$(echo dist/edgemon_*_arm64.deb)" ] || $(MAKE) --no-print-directory binary ARCH=arm64
	[ -e "$$(echo dist/edgemon_*_armhf.deb)" ] || $(MAKE) --no-print-directory binary ARCH=armhf
	$(BIN)/python -m pytest -m slow -n 0 tests/packaging/test_arm.py tests/packaging/test_single_file.py tests/packaging/test_wheel.py

test-vm: $(VENV)/.test  ## the arm64 .deb on an emulated machine with 128 MB, through a power cut (root)
	packaging/vm.sh
	[ -e "$$(echo dist/edgemon_*_arm64.deb)" ] || $(MAKE) --no-print-directory binary ARCH=arm64
	$(BIN)/python -m pytest -m slow -n 0 -s tests/packaging/test_vm.py

lint: $(VENV)/.test $(VENV)/.lint  ## ruff, mypy --strict, C with warnings as errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(CC) $(C_STRICT) -fsyntax-only -Icsrc $(C_SOURCES)

# In an environment of its own: the peers hold numpy and scipy back.
bench:  ## every benchmark, ours beside the peers'
	$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/.test .venv-bench/.bench
	.venv-bench/bin/python -m benchmarks

wheel: $(VENV)/.base  ## sdist and wheel into dist/
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build --outdir dist .

build: wheel

binary:  ## single file and .deb into dist/; ARCH=arm64 or armhf: another processor's (root, x86-64 Debian 12)
	PYTHON=$(PYTHON) packaging/build.sh $(ARCH)

ks-null:  ## simulate the table of drift thresholds anew (ten minutes of one core; seeded)
	mkdir -p build
	$(CC) -O3 -march=native -std=c11 -pthread csrc/tools/ks_null.c -lm -o build/ks_null
	build/ks_null check
	build/ks_null table > build/ks_null.py && mv build/ks_null.py edgemon/drift/ks_null.py

clean:  ## forget what was built
	rm -rf build dist $(VENV) edgemon/_core/*.c edgemon/_core/*.so *.egg-info
