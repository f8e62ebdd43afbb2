# The commands of the project, each a line over npm or `wf`. `make` alone lists them.
# Needs Node 20 or newer and npm; the Node that the project runs on comes with `make install`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

WF := npm run --silent wf --
FILE ?= examples/workflow_definitions/data-pipeline.yaml

.PHONY: help install install-dev quick-start dev db-init db-demo db-test docker-up docker-down docker-db-only \
	submit-workflow test test-unit test-integration test-e2e lint build clean reinstall

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / { n = split($$1, name, " "); for (i = 1; i <= n; i++) printf "  make %-17s %s\n", name[i], $$2 }' $(MAKEFILE_LIST)

install: ## Install what is needed to run, test and build
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Node 20 or newer and npm are needed: https://nodejs.org" >&2; exit 1; }
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' || { echo "Node 20 or newer is needed, this is $$(node --version)" >&2; exit 1; }
	@node .ci/installed.mjs || npm ci --loglevel=error --no-audit --no-fund

install-dev: install ## The same: the tools of developers are always there

quick-start: install ## Start a coordinator and workers, and run the example
	@$(WF) quick-start

dev: install ## Start a coordinator and two workers and keep them running
	@$(WF) dev

submit-workflow: install ## Run an example on what `make dev` started (FILE=path for another)
	@$(WF) submit $(FILE) --start --watch

test: install ## Run all tests
	@npm run --silent test

test-unit: install ## Run the tests without sockets and processes
	@npm run --silent test:unit

test-integration: install ## Run the tests with real sockets and processes
	@npm run --silent test:integration

test-e2e: install ## Run the tests of the whole system
	@npm run --silent test:e2e

lint: install ## Check style, types and contracts
	@npm run --silent lint && npm run --silent typecheck

build: install ## Build the packages that are published
	@npm run --silent build

clean: ## Remove what was built; keeps installed packages and data
	rm -rf .tap proto/dist coordinator/dist coordinator/engine/dist sdk/dist worker/dist

reinstall: clean ## Install from nothing
	rm -rf node_modules */node_modules coordinator/engine/node_modules
	@$(MAKE) install

db-init: install ## Make what keeps state: PostgreSQL's tables (DATABASE_URL), Redis checked (REDIS_URL), else the embedded journal
	@$(WF) db init

db-demo: install ## Walk through persistence: run, kill, start again, see it go on
	@$(WF) db demo

db-test: install ## Run the tests of what keeps state, on servers of their own
	@npm run --silent test:db

docker-up docker-down docker-db-only: ## Not in this version: there are no images (see deploy/README.md)
	@echo "make $@: not available: there are no container images yet; deploy/README.md says how to run the processes." >&2; exit 1
