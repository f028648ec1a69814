# Two commands do everything on a fresh Debian with git, make and python3-venv: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo test test-long bench pictures lint types contracts pytest browser peers clean

export UV_PYTHON_DOWNLOADS := never
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
STAMP := .venv/.synced

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(UV):
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --python $(PYTHON)
	@touch $(STAMP)

# Browser tests and Chinese fonts come from Debian only: installed where we may, named where we may not.
browser:
	@if command -v chromium >/dev/null 2>&1 && fc-list 2>/dev/null | grep -qi 'cjk'; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-noto-cjk >/dev/null; \
	else echo "browser tests skip: install the Debian packages chromium and fonts-noto-cjk"; fi

# Peers that are not ours: node-opcua from npm. Nothing of it is needed to run the box; its tests skip where it is missing.
NODE_OPCUA := tests/peers/node-opcua
peers:
	@if command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nodejs npm >/dev/null || \
		echo "node-opcua tests skip: the Debian packages nodejs and npm did not install"; \
	else echo "node-opcua tests skip: install the Debian packages nodejs and npm"; fi
	@if command -v npm >/dev/null 2>&1 && ! cmp -s $(NODE_OPCUA)/package-lock.json $(NODE_OPCUA)/node_modules/.lock; then \
		(cd $(NODE_OPCUA) && npm ci --silent --no-audit --no-fund && cp package-lock.json node_modules/.lock) || \
		echo "node-opcua tests skip: npm ci in $(NODE_OPCUA) did not work"; fi

demo: $(STAMP) ## a whole mine on this machine: prints the address of its pages
	$(BIN)/minewatch demo $(DEMO)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports --no-cache

pytest: $(STAMP) browser peers
	$(BIN)/pytest -q -m "not long" -n 2 --dist loadfile --durations 15

test: lint types contracts pytest ## lint, types, import contracts, tests

test-long: $(STAMP) browser peers ## the rest: many kill rounds, all cut points, large property runs; each part callable alone
	$(BIN)/pytest -q -m long --durations 15 $(PART)

bench: $(STAMP) ## ratios against named peers
	@for bench in bench/*.py; do [ -e "$$bench" ] || continue; $(BIN)/python "$$bench" || exit 1; done

pictures: $(STAMP) browser ## docs/img anew, from a live demo
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/link_states.py
	$(BIN)/python docs/isolation_plot.py

clean: ## forgets the environment
	rm -rf .venv .tools
