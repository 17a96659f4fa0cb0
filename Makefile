# make demo    set up .venv, damage a photograph, restore it, say where the report is
# make test    style, types and tests
# make format  lay out the code as `make test` wants it
# make docs    rewrite what is made from the code and the weights: docs/degradations.md, the README's picture
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo test format docs

demo: .venv/.demo
	$(BIN)/python examples/photograph.py demo/photograph.png
	$(BIN)/rnr degrade demo/photograph.png --set haze=40 --set noise=25 -o demo/degraded --overwrite
	$(BIN)/rnr restore demo/degraded/photograph.png -o demo/restored --overwrite
	@echo "Open demo/restored/report.html in a browser."

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: demo
	$(BIN)/python -m degradation.describe --out docs/degradations.md
	$(BIN)/python examples/strip.py demo/degraded/photograph.png demo/restored/photograph.png demo/photograph.png \
		-o docs/images/before-after.jpg

# Stamps: a second call installs nothing while pyproject.toml and constraints.txt stay as they are.
.venv/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[demo]"
	touch $@

.venv/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	touch $@ .venv/.demo

$(BIN)/python:
	$(PYTHON) -m venv .venv
