# Everything a checkout needs. `make demo` and `make test` do all the setup themselves.

# Python 3.11 or 3.13: the first that runs and can create environments (a shim on PATH may do neither), or the one that
# .venv was made with. PYTHON=python3.13 selects another; PYTHON_311= and PYTHON_313= name the interpreters for bpy.
where = $(foreach folder,$(subst :, ,$(PATH)) $(wildcard $(HOME)/.pyenv/versions/$(1)*/bin),$(wildcard $(folder)/python$(1)))
works = import ensurepip, sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(1)")
find = $(shell for p in $(filter-out $(CURDIR)/%,$(where)); do $$p -c '$(works)' 2>/dev/null && echo $$p && break; done)
PYTHON_311 := $(or $(PYTHON_311),$(call find,3.11))
PYTHON_313 := $(or $(PYTHON_313),$(call find,3.13))
PYTHON ?= $(or $(if $(wildcard .venv/.ready-3.13),$(PYTHON_313)),$(PYTHON_311),$(PYTHON_313))
VERSION := $(if $(PYTHON),$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
PYTHON_$(subst .,,$(VERSION)) := $(PYTHON)
no_python = $(error $(1) is needed: install it with `pyenv install $(2)`, `brew install python@$(2)` (macOS) or \
    `apt install python$(2)-venv` (where apt has it), or set $(3)=/path/to/python$(2))
need = $(if $(PYTHON_$(subst .,,$(1))),,$(call no_python,Python $(1)$(2),$(1),PYTHON_$(subst .,,$(1))))

BPY ?= $(if $(filter 3.13,$(VERSION)),5.3.0,4.5.15)
BPY_VERSION := $(if $(filter 4.% 5.0 5.0.%,$(BPY)),3.11,3.13)
BPY_PINS := constraints-blender$(if $(filter 3.13,$(BPY_VERSION)),-3.13).txt

# Two environments on purpose: as on an artist's machine, Blender's Python never sees the backend's packages.
VENV := .venv
BLENDER := .venv-bpy-$(BPY)
READY := $(VENV)/.ready-$(VERSION)
DOCS := .venv-docs
DOCS_READY := $(DOCS)/.ready-$(VERSION)
RELEASE := .venv-release
RELEASE_READY := $(RELEASE)/.ready-$(VERSION)
LOCK = $(RELEASE)/bin/uv pip compile pyproject.toml --python-version 3.11 --generate-hashes -c constraints.txt --quiet \
    --no-annotate --no-header
WAN := .venv-wan
WAN_READY := $(WAN)/.ready-$(VERSION)
BLENDER_READY := $(BLENDER)/.ready
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

.PHONY: demo test test-ex4d test-cli test-server test-wan test-blender test-slow test-cluster test-setup test-desktop test-matrix test-packages test-clean lint format sample docs extension release workflows lock sbom weight pictures benchmark clean

demo: $(READY) $(BLENDER_READY)  ## run the main job on the sample, as an artist would; results in out/demo (CLIP=my.mp4: another clip, in out/clip)
	$(VENV)/bin/python scripts/demo.py --blender $(BLENDER)/bin/python --output_dir out/$(if $(CLIP),clip,demo) $(if $(CLIP),--clip "$(CLIP)")

test:  ## run everything that CI checks, in parallel, because most of the tests are waiting
	$(MAKE) --jobs=4 --output-sync=target test-server test-blender test-ex4d test-cli lint

test-ex4d: $(READY)
	$(VENV)/bin/python -m pytest tests $(addprefix --ignore tests/,backend blender cli e2e) -m "not gpu and not packages and not slow"

test-cli: $(READY)
	$(VENV)/bin/python -m pytest tests/cli

test-server: $(READY)
	$(VENV)/bin/python -m pytest tests/backend -m "not gpu and not cluster"

test-cluster: $(READY)  ## test workers on a real Ray cluster of two nodes, both on this machine; five minutes, 80 MB of packages
	$(PIP) $(VENV)/bin/python -m pip install -c constraints.txt -e ".[dev,cluster]"
	$(VENV)/bin/python -m pytest tests/backend/test_cluster.py

test-wan: $(WAN_READY)  ## test generators, training, metrics and depth models with tiny weights on the CPU; on Linux, torch brings 3 GB of CUDA unless pip finds a CPU wheel
	$(WAN)/bin/python -m pytest tests/generate tests/depth tests/source_camera tests/weights tests/training tests/metrics tests/backend/test_fetching.py -m "(wan or depth) and not gpu"

test-blender: $(READY) $(BLENDER_READY)
	EX4D_PYTHON=$(abspath $(VENV))/bin/python $(BLENDER)/bin/python -m pytest tests/blender tests/e2e -m "not gpu and not setup and not slow"

test-slow: $(READY) $(BLENDER_READY)  ## run the tests that take longest, most of them searches for the source camera; a few minutes
	$(VENV)/bin/python -m pytest tests/pipeline tests/source_camera tests/render -m slow
	EX4D_PYTHON=$(abspath $(VENV))/bin/python $(BLENDER)/bin/python -m pytest tests/e2e -m slow

test-setup: $(BLENDER_READY)  ## press Set Up Server as an artist does: about 1 GB of packages, a minute or more
	$(BLENDER)/bin/python -m pytest tests/blender -m setup

test-packages: $(RELEASE_READY)  ## after `make release`: check that it installs and works without a checkout, on both Pythons; a few minutes
	$(call need,3.11)$(call need,3.13)
	EX4D_PYTHONS="$(PYTHON_311) $(PYTHON_313)" $(RELEASE)/bin/python -m pytest tests/packages/test_release.py

test-clean: $(READY)  ## after `make release`: follow docs/install.md with it on a Debian that has nothing but Blender (needs root, debootstrap)
	$(VENV)/bin/python tests/clean_machine.py dist/release

test-desktop: extension  ## play through a first day with EX-4D, with mouse and keyboard in a 1280x800 window (WINDOW=path of Blender, CLIP=my.mp4; needs Xvfb, xdotool, ImageMagick)
	$(PIP) $(BLENDER)/bin/python -m pip install python-xlib==0.33
	$(BLENDER)/bin/python tests/desktop/run.py --blender $(or $(WINDOW),blender) --zip dist/ex4d-*.zip $(if $(CLIP),--clip "$(CLIP)")

pictures: extension  ## make the pictures for docs/first-shot.md and the animation for README from a real window (WINDOW=path of Blender; also needs ffmpeg)
	$(PIP) $(BLENDER)/bin/python -m pip install python-xlib==0.33
	$(BLENDER)/bin/python tests/desktop/run.py --blender $(or $(WINDOW),blender) --zip dist/ex4d-*.zip --story page --out out/page
	$(BLENDER)/bin/python scripts/page_pictures.py out/page docs/pictures/first-shot

test-matrix:  ## run the add-on's tests on Blender 4.2 to 5.3, with both Pythons; about 1 GB of disk space each
	$(call need,3.11)$(call need,3.13)
	for version in 4.2.23 4.5.15 5.0.1 5.1.2 5.2.3 5.3.0; do $(MAKE) test-blender BPY=$$version || exit 1; done

lint: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --platform win32
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/codespell

format: $(READY)
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

sample: $(READY) $(BLENDER_READY)  ## render sample/ anew (about ten minutes)
	$(BLENDER)/bin/python sample/render_sample.py

extension: $(BLENDER_READY)  ## build dist/ex4d-<version>.zip for Blender's Install from Disk
	$(BLENDER)/bin/python scripts/build_extension.py

docs: $(DOCS_READY)  ## build the site in build/site and follow every link in it; fails if a page is missing from the groups in docs/index.md
	$(DOCS)/bin/python -m sphinx -W --keep-going -q -b html docs build/site
	$(DOCS)/bin/python scripts/check_site.py build/site

release: $(BLENDER_READY) $(RELEASE_READY)  ## build dist/release: wheel, sdist, extensions and their index, locks, licences (TORCH="--index-url ...": where to get PyTorch)
	rm -rf dist/release
	$(RELEASE)/bin/python -m build --outdir dist/release
	$(BLENDER)/bin/python scripts/build_extension.py dist/release/extensions
	cp constraints.txt locks/server.txt locks/server-nvidia.txt dist/release
	$(MAKE) sbom

sbom: $(RELEASE_READY)  ## install what Set Up Server installs for the CPU into build/server and list its components; fails if a licence is not allowed
	$(PYTHON) -m venv --clear build/server
	$(PIP) build/server/bin/python -m pip install -c constraints.txt torch $(TORCH)
	$(PIP) build/server/bin/python -m pip install -c constraints.txt "$(firstword $(wildcard dist/release/*.whl))[backend,camera,depth]"
	$(RELEASE)/bin/python scripts/sbom.py build/server dist/release/ex4d-server.cdx.json

weight:  ## after `make release`: print how much is downloaded, and how much disk space a server takes
	@du --apparent-size --block-size=kB $(sort $(wildcard dist/release/extensions/*.zip dist/release/*.whl dist/release/*.tar.gz))
	@du --summarize --block-size=MB build/server

workflows: $(RELEASE_READY)  ## check the files in .github and CITATION.cff against their schemas
	$(RELEASE)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(RELEASE)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	$(RELEASE)/bin/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

lock: $(RELEASE_READY)  ## update locks/ after changes to pyproject.toml or constraints.txt
	$(LOCK) --universal --extra backend --extra camera -o locks/server.txt
	$(LOCK) --python-platform x86_64-manylinux_2_28 --extra backend --extra camera --extra depth --extra wan --extra cuda \
	    -o locks/server-nvidia.txt

benchmark: $(READY) $(BLENDER_READY)  ## print the figures for docs/performance.md
	$(VENV)/bin/python benchmarks/render.py
	$(VENV)/bin/python benchmarks/transfer.py
	$(VENV)/bin/python benchmarks/true_view.py
	$(VENV)/bin/python benchmarks/viewport.py $(BLENDER)/bin/python
	EX4D_PYTHON=$(abspath $(VENV))/bin/python $(BLENDER)/bin/python benchmarks/live_coverage.py

clean:
	rm -rf .venv .venv-bpy-* .venv-docs .venv-release build dist out

# An environment is recreated for another Python or after a failure, and updated when its pins change.
fresh = $(if $(wildcard $@),,--clear)

$(READY) $(WAN_READY) $(DOCS_READY) $(RELEASE_READY): pyproject.toml constraints.txt
	$(if $(filter 3.11 3.13,$(VERSION)),,$(call no_python,Python 3.11 or 3.13,3.13,PYTHON))
	$(PYTHON) -m venv $(fresh) $(@D)
	@echo "Installing packages into $(@D), a few minutes"
	$(PIP) $(@D)/bin/python -m pip install -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

$(READY): EXTRAS := dev
$(WAN_READY): EXTRAS := dev,wan,depthcrafter,train,evaluate-models
$(DOCS_READY): EXTRAS := docs
$(RELEASE_READY): EXTRAS := release

$(BLENDER_READY): pyproject.toml $(BPY_PINS)
	$(call need,$(BPY_VERSION), for bpy $(BPY))
	$(PYTHON_$(subst .,,$(BPY_VERSION))) -m venv $(fresh) $(BLENDER)
	@echo "Installing packages into $(BLENDER), a few minutes"
	$(PIP) $(BLENDER)/bin/python -m pip install -c $(BPY_PINS) bpy==$(BPY) -e ".[client]" pytest pytest-timeout av build
	touch $@
