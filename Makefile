# Everything a checkout needs. `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3.11
BPY ?= 4.5.15

# Two environments on purpose: Blender's Python never sees what the backend needs, as on an artist's machine.
VENV := .venv
BLENDER := .venv-bpy-$(BPY)
READY := $(VENV)/.ready
WAN := .venv-wan
WAN_READY := $(WAN)/.ready
BLENDER_READY := $(BLENDER)/.ready
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

.PHONY: demo test test-ex4d test-wan test-blender test-matrix lint format sample extension benchmark clean

demo: $(READY) $(BLENDER_READY)  ## the main job on the sample, as an artist does it; results in out/demo (CLIP=my.mp4: another clip, in out/clip)
	$(VENV)/bin/python scripts/demo.py --blender $(BLENDER)/bin/python --output_dir out/$(if $(CLIP),clip,demo) $(if $(CLIP),--clip "$(CLIP)")

test: lint test-ex4d test-blender  ## everything that CI checks

test-ex4d: $(READY)
	$(VENV)/bin/python -m pytest tests --ignore tests/blender --ignore tests/e2e -m "not gpu"

test-wan: $(WAN_READY)  ## the generator with tiny models on the CPU; on Linux torch brings 3 GB of CUDA unless pip finds a CPU wheel
	$(WAN)/bin/python -m pytest tests/generate tests/depth tests/weights -m "wan and not gpu"

test-blender: $(READY) $(BLENDER_READY)
	EX4D_PYTHON=$(abspath $(VENV))/bin/python $(BLENDER)/bin/python -m pytest tests/blender tests/e2e -m "not gpu"

test-matrix:  ## Blender 4.2, 4.5 and 5.0; about 1 GB of disk each
	for version in 4.2.23 4.5.15 5.0.1; do $(MAKE) test-blender BPY=$$version || exit 1; done

lint: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(READY)
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

sample: $(READY) $(BLENDER_READY)  ## render sample/ again (about ten minutes)
	$(BLENDER)/bin/python sample/render_sample.py

extension: $(BLENDER_READY)  ## dist/ex4d-<version>.zip for Blender's Install from Disk
	$(BLENDER)/bin/python scripts/build_extension.py

benchmark: $(READY)  ## the figures of docs/performance.md
	$(VENV)/bin/python benchmarks/render.py
	$(VENV)/bin/python benchmarks/transfer.py
	$(VENV)/bin/python benchmarks/true_view.py
	$(VENV)/bin/python benchmarks/live_coverage.py

clean:
	rm -rf .venv .venv-bpy-* build dist out

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), "Python 3.11 is needed: set PYTHON=/path/to/python3.11"'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(VENV)/bin/python -m pip install -c constraints.txt -e ".[dev]"
	touch $@

$(BLENDER_READY): pyproject.toml constraints-blender.txt
	$(PYTHON) -m venv $(BLENDER)
	$(PIP) $(BLENDER)/bin/python -m pip install -c constraints-blender.txt bpy==$(BPY) -e ".[client]" pytest pytest-timeout av build
	touch $@

$(WAN_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(WAN)
	$(PIP) $(WAN)/bin/python -m pip install -c constraints.txt -e ".[dev,wan,depthcrafter]"
	touch $@
