# Plumb's make. "make help" lists what it can do.
#
# A fresh machine needs Go (the version in go.mod), Node (20 or newer, with npm),
# git and make; everything else is fetched with a pinned version, but for the
# browser of "make e2e", which comes from the distribution.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where the binaries go.
BINDIR ?= bin
BIN := $(abspath $(BINDIR))
# Tools of the build, kept apart from what is shipped.
TOOLS := $(abspath bin/tools)
# Where the last runs left what they printed.
OUT := $(abspath bin/out)

GO ?= go
GOLANGCI_LINT_VERSION := v2.14.0
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)

# The identity provider that the tests of internal/signin and the stories sign in
# with, and the command line of Argo CD that the stories use.
DEX := $(TOOLS)/dex
ARGOCD := $(TOOLS)/argocd

# The object store that the tests of internal/source/bucket read.
S3SERVER_VERSION := v1.8.0
S3SERVER := $(TOOLS)/versitygw-$(S3SERVER_VERSION)

# How long each fuzzer runs in "make fuzz".
FUZZTIME ?= 10s
# What the benchmark measures; see docs/benchmarks.md.
BENCH_N ?= 100,500,1000
# Picks tests, as in "make scenario RUN=Scenario/prune".
RUN ?=

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X plumb.dev/plumb/internal/cli.version=$(VERSION)
CONTROLPLANE_LDFLAGS = $(shell cat controlplane/ldflags.txt)

# One set of build flags everywhere, so that nothing is compiled twice. The tag
# leaves Go plugins out of kustomize, which are refused anyway: a program that could
# load one keeps every method of everything, and is a third larger and slower to link.
export GOFLAGS := $(strip $(GOFLAGS) -trimpath -tags=kustomize_disable_go_plugin_support)

# The race detector looks at everything but the cipher of passwords and of keys that
# are locked with one: that is arithmetic on one's own memory, starts nothing and
# shares nothing, and took nearly half of what the stories' plumb computed.
RACE := -race -gcflags=golang.org/x/crypto/blowfish=-race=false

# Programs that only run tests are linked without what debuggers read: in half the
# time, and there are a hundred of them. Panics and races are told as ever.
LEAN := -ldflags='-s -w'
# "vet" looks at everything, and at more than the tests would by themselves.
TEST := test -vet=off $(LEAN)

# Tests that want a cluster start this one.
export PLUMB_CONTROLPLANE := $(BIN)/plumb-controlplane
export PLUMB_DEX := $(DEX)
export PLUMB_ARGOCD := $(ARGOCD)
export PLUMB_S3SERVER := $(S3SERVER)

# Every package of the main module that stands on its own. The scenarios and the
# crash points are run by targets of their own.
UNIT = $$($(GO) list ./... | grep -v -e '/scenario$$' -e '/internal/house$$')

# $(call slowly,what,command) runs a command that may say nothing for minutes,
# and says every half minute that it is still at work, unless "make test" does.
define slowly
start=$$SECONDS; echo "$(1)"; \
( while [[ -z $${TICKING:-} ]] && sleep 30 >/dev/null 2>&1 && kill -0 $$$$ 2>/dev/null; do echo "  … $(1): $$((SECONDS - start)) s so far"; done ) & ticker=$$!; \
trap "kill $$ticker 2>/dev/null || true" EXIT; \
$(2)
endef

# $(call after,STEP...) is the rules by which each step waits for the one before.
define after
$(if $(word 2,$(1)),step-$(word 2,$(1)): | step-$(word 1,$(1))
$(call after,$(wordlist 2,$(words $(1)),$(1))))
endef

.PHONY: help
help: ## list the targets
	@echo "usage: make TARGET"; echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##—— building

.PHONY: build
build: plumb controlplane ## build plumb and plumb-controlplane into ./bin (BINDIR= overrides)

# What the console is built of, and what says that it has been: the newest of its
# files is older than the page that was built of them.
CONSOLE := internal/web/dist/index.html
CONSOLE_SOURCES := $(shell find web/src web/public web/index.html web/vite.config.ts web/tsconfig.json web/package.json -type f)
CONSOLE_TOOLS := web/node_modules/.package-lock.json

.PHONY: console
console: $(CONSOLE) ## build the console into internal/web/dist, from where plumb takes it

$(CONSOLE): $(CONSOLE_SOURCES) $(CONSOLE_TOOLS)
	@$(call slowly,building the console,cd web && npm run --silent bundle)

$(CONSOLE_TOOLS): web/package-lock.json web/.npmrc
	@version=$$(node --version 2>/dev/null || true); major=$${version#v}; \
	if ! command -v npm >/dev/null || (( $${major%%.*} + 0 < 20 )); then \
		echo "the console is built with Node 20 or newer and npm, and there is $${version:-no node}: apt-get install nodejs npm, or see https://nodejs.org"; exit 1; fi
	@$(call slowly,fetching what the console is built with (half a minute the first time),cd web && npm ci --no-audit --no-fund)
	@touch $@

.PHONY: plumb
plumb: console ## build the engine and command line, with the console
	@mkdir -p $(BIN)
	@$(call slowly,building $(BINDIR)/plumb (minutes the first time),$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/plumb ./cmd/plumb)

.PHONY: controlplane
controlplane: ## build the embedded Kubernetes alone
	@mkdir -p $(BIN)
	@$(call slowly,building $(BINDIR)/plumb-controlplane (about ten minutes the first time),\
		cd controlplane && $(GO) build -ldflags '$(CONTROLPLANE_LDFLAGS)' -o $(BIN)/plumb-controlplane .)

.PHONY: up
up: build ## build, then start a cluster with a sample repository (ARGS= for plumb up)
	@$(BIN)/plumb up $(ARGS)

##—— testing

# One after the other: what is cheap and fails often comes first, and "generated"
# writes files that all others read.
FIRST := build format vet generated floors
# Then two rows at the same time, each in its order. What computes leaves the
# processor to those who wait for an answer.
COMPUTING := unit console-test controlplane-test lint
WAITING := scenario crash e2e

.PHONY: test
test: ## everything that CI runs
	@rm -rf $(OUT)/steps; mkdir -p $(OUT)/steps; start=$$SECONDS; export TICKING=1; \
	( while sleep 30 >/dev/null 2>&1 && kill -0 $$$$ 2>/dev/null; do \
		echo "  … $$((SECONDS - start)) s so far; at work:" $$(cd $(OUT)/steps && ls | sed -n 's/\.begun$$//p'); done ) & ticker=$$!; \
	trap "kill $$ticker 2>/dev/null || true" EXIT; \
	for step in $(FIRST); do $(MAKE) step-$$step; [[ ! -e $(OUT)/steps/build.failed ]] || break; done; \
	[[ -e $(OUT)/steps/build.failed ]] || $(MAKE) -j2 -Orecurse row-computing row-waiting; \
	failed=; printf '\n=== summary\n'; \
	for step in $(FIRST) $(COMPUTING) $(WAITING); do \
		if [[ -e $(OUT)/steps/$$step.ok ]]; then cat $(OUT)/steps/$$step.ok; \
		elif [[ -e $(OUT)/steps/$$step.failed ]]; then cat $(OUT)/steps/$$step.failed; failed="$$failed $$step"; \
		else printf '%-18s %s\n' $$step 'not run'; failed="$$failed $$step"; fi; \
	done; \
	if [[ -n $$failed ]]; then echo "make test: FAILED in$$failed, after $$((SECONDS - start)) s"; exit 1; fi; \
	echo "make test: all green in $$((SECONDS - start)) s"

# step-NAME runs a step of "make test", and writes down how it went: seconds that
# passed, and those of the processor, which say more on a machine that others use.
step-%:
	@printf '\n=== %s\n' $*; told=$(OUT)/steps/$*; touch $$told.begun; began=$$SECONDS; \
	if $(if $(filter $*,$(COMPUTING)),nice -n 5) $(MAKE) $*; then verdict=ok; else verdict=failed; fi; \
	times > $$told.times; \
	computed=$$(awk 'END { split($$1, u, /[ms]/); split($$2, s, /[ms]/); printf "%d", 60 * (u[1] + s[1]) + u[2] + s[2] }' $$told.times); \
	printf '%-18s %-7s %5d s %5d s of CPU\n' $* $${verdict/failed/FAILED} $$((SECONDS - began)) $$computed > $$told.$$verdict; rm $$told.begun

# A row of steps, each after the one before.
row-computing: $(COMPUTING:%=step-%)
row-waiting: $(WAITING:%=step-%)
$(eval $(call after,$(COMPUTING)))
$(eval $(call after,$(WAITING)))

.PHONY: format
format: ## every Go file is formatted
	@wrong=$$(git ls-files -co --exclude-standard '*.go' | grep -v '/testdata/' | xargs gofmt -l); \
	if [[ -n $$wrong ]]; then echo "gofmt -w would change:"; echo "$$wrong"; exit 1; fi; echo "all Go files are formatted"

.PHONY: vet
vet: ## go vet (of the main module: vet would walk all of Kubernetes with the other)
	@$(call slowly,vetting plumb,$(GO) vet ./...)

.PHONY: floors
floors: ## the rules of the house: imports, purity, package comments
	@$(GO) $(TEST) -count=1 ./internal/house

.PHONY: unit
unit: $(DEX) $(S3SERVER) ## unit tests of the main module, with the race detector where there are goroutines
	@$(call slowly,unit tests (minutes to build the first time),\
		packages=$$(.ci/goroutines $(UNIT)); failed=; of() { sed -n "s/^$$1 //p" <<<"$$packages"; }; \
		GORACE=atexit_sleep_ms=0 $(GO) $(TEST) $(RACE) -timeout 15m $(if $(RUN),-run '$(RUN)') $$(of race) || failed=1; \
		GORACE=atexit_sleep_ms=0 $(GO) $(TEST) $(RACE) -timeout 15m -run '$(or $(RUN),^('$$(of test | paste -sd '|')')$$)' $$(of some) || failed=1; \
		$(GO) $(TEST) -timeout 15m $(if $(RUN),-run '$(RUN)') $$(of some) $$(of alone) || failed=1; \
		[[ -z $$failed ]])

$(S3SERVER):
	@mkdir -p $(TOOLS)
	@$(call slowly,building versitygw $(S3SERVER_VERSION) (two minutes the first time),\
		CGO_ENABLED=0 GOBIN=$(TOOLS) $(GO) install github.com/versity/versitygw/cmd/versitygw@$(S3SERVER_VERSION))
	@mv $(TOOLS)/versitygw $@

$(DEX): internal/signin/dextest/go.mod
	@mkdir -p $(TOOLS)
	@$(call slowly,building Dex (three minutes the first time),\
		cd internal/signin/dextest && CGO_ENABLED=0 $(GO) build -o $@ github.com/dexidp/dex/cmd/dex)

$(ARGOCD): internal/api/argocd/clitest/go.mod
	@mkdir -p $(TOOLS)
	@$(call slowly,building argocd (six minutes the first time),\
		cd internal/api/argocd/clitest && CGO_ENABLED=0 $(GO) build $(LEAN) -o $@ github.com/argoproj/argo-cd/v3/cmd)

.PHONY: controlplane-test
controlplane-test: ## tests of the embedded Kubernetes
	@$(call slowly,tests of the control plane,cd controlplane && $(GO) test -vet=off -timeout 15m -ldflags '$(CONTROLPLANE_LDFLAGS)' $(if $(RUN),-run '$(RUN)') ./...)

.PHONY: console-test
console-test: $(CONSOLE_TOOLS) ## types of the console, and tests of its parts above a server in memory
	@$(call slowly,tests of the console,cd web && npm run --silent check && npm test --silent)

# A browser is no tool that is fetched: it comes from the distribution, with what
# it needs of the system.
CHROMIUM ?= $(or $(shell command -v chromium || command -v chromium-browser || command -v google-chrome),/usr/bin/chromium)
export CHROMIUM

$(CHROMIUM):
	@install="apt-get install --yes --no-install-recommends chromium fonts-liberation"; \
	if ! command -v apt-get >/dev/null; then echo "make e2e drives Chromium: install it, and name it by CHROMIUM=/path/to/chromium"; exit 1; fi; \
	if [[ $$(id -u) == 0 ]]; then become=; elif sudo -n true 2>/dev/null; then become=sudo; \
	else echo "make e2e drives Chromium: sudo apt-get update && sudo $$install, or name another by CHROMIUM=/path/to/chromium"; exit 1; fi; \
	$(call slowly,installing Chromium,$$become apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive $$become $$install --quiet=2)

.PHONY: e2e
e2e: build $(CHROMIUM) ## the console in Chromium against plumb up: a newcomer's story, and axe on every page
	@mkdir -p $(OUT); $(call slowly,the console in a browser,cd web && PLUMB=$(BIN)/plumb PLUMB_E2E_OUT=$(OUT) npm run --silent e2e:cluster)

# plumb as the stories run it.
RACING := $(abspath bin/racing)/plumb

.PHONY: racing
racing: build
	@mkdir -p $(dir $(RACING))
	@$(call slowly,building plumb with the race detector (minutes the first time),$(GO) build $(LEAN) $(RACE) -o $(RACING) ./cmd/plumb)

.PHONY: scenario
scenario: racing $(DEX) $(ARGOCD) ## the stories of scenario/ against a real API server (RUN=Scenarios/NAME)
	@$(call slowly,scenarios,PLUMB_RACING=$(RACING) $(GO) $(TEST) -count=1 -timeout 20m -parallel 8 -run '$(or $(RUN),Scenarios)' ./scenario)

.PHONY: crash
crash: build ## kill the controller at every write of some stories
	@$(call slowly,crash points,$(GO) $(TEST) -count=1 -timeout 30m -parallel 8 -v -run '$(or $(RUN),CrashPoints)' ./scenario | grep -v -e '^=== ' -e '^ *--- PASS')

.PHONY: lint
lint: $(GOLANGCI_LINT) ## golangci-lint (of the main module, as vet)
	@$(call slowly,linting plumb,$(GOLANGCI_LINT) run ./...)

$(GOLANGCI_LINT):
	@mkdir -p $(TOOLS)
	@$(call slowly,building golangci-lint $(GOLANGCI_LINT_VERSION),\
		GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION))
	@mv $(TOOLS)/golangci-lint $@

.PHONY: fuzz
fuzz: ## run every fuzzer for FUZZTIME (default 10s)
	@for pkg in $$($(GO) list ./...); do \
		for fuzzer in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$fuzzer"; $(GO) test -run '^$$' -fuzz "^$$fuzzer\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

##—— generated files

.PHONY: generate
generate: $(CONSOLE_TOOLS) ## write generated files anew: CRDs, field lists, the API's types in Go and TypeScript, docs/scenarios.md
	@$(GO) generate ./...

.PHONY: generated
generated: ## generated files are what "make generate" would write
	@before=$$(mktemp -d); trap "rm -rf $$before" EXIT; \
	list() { git ls-files -co --exclude-standard | while read -r f; do [[ -f $$f ]] && sha256sum "$$f"; done | sort -k 2; }; \
	list > $$before/a; $(MAKE) generate; list > $$before/b; \
	if ! diff $$before/a $$before/b | awk '/^[<>]/ { print $$3 }' | sort -u > $$before/changed; [[ -s $$before/changed ]]; then \
		echo "out of date, and written anew now; commit them:"; cat $$before/changed; exit 1; fi; \
	echo "generated files are current"

##—— the rest

.PHONY: bench
bench: build ## repeat the figures of docs/benchmarks.md (BENCH_N=100,500,1000)
	@$(GO) run ./bench -n $(BENCH_N)

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin web/node_modules internal/web/dist/assets $(CONSOLE)
