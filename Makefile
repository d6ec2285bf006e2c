# `make up` and `make test` do everything on a fresh machine; `make help` lists
# the rest.

GO      ?= go
BIN     := $(CURDIR)/bin
DATA    ?= $(or $(METIVA_DATA),$(CURDIR)/var)
CACHE   := $(or $(METIVA_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/metiva)
BUF     := $(CURDIR)/.ci/tools/buf
LINT    := $(CACHE)/ci-tools/golangci-lint
MAINS   := collector enrich sink core metiva

export METIVA_CACHE := $(CACHE)
# The toolchain of the machine is used as it is, and packages of registries
# only: no build stamps from a version control system that may be missing.
export GOFLAGS ?= -buildvcs=false

.DEFAULT_GOAL := help

##@ Run

.PHONY: up
up: engines build ## Start everything with a demo agency and a demo website, until Ctrl-C
	@$(BIN)/metiva up --data $(DATA)

.PHONY: demo
demo: engines build ## Drive a set of visits through a fresh stack, print the companies and the ledger
	@$(BIN)/metiva demo

##@ Test

.PHONY: test
test: engines chromium consent-platforms ## Run all tests, on the embedded engines
	$(GO) test -timeout 10m ./...

.PHONY: race
race: engines ## Run the tests of the packages with goroutines under the race detector
	$(GO) test -race -timeout 15m $$($(GO) list ./collector/... ./consent/... ./enrich/... ./sink/... ./pkg/... | grep -vE '/(pkg/core/analytics|enrich/verdict|enrich/bot|collector/snippet)$$')

.PHONY: exactly-once
exactly-once: engines ## Kill ClickHouse and sinks thirty times under load and compare every row (some minutes)
	$(GO) test -count 1 -timeout 20m ./sink -run 'TestNothingIsLostOrDoubled|TestKilledProcesses' -v -args -kill-rounds 30

.PHONY: isolation
isolation: engines ## Try to reach another tenant with 10,000 sets of parameters (some minutes)
	$(GO) test -count 1 -timeout 30m ./pkg/core/analytics -run 'TestNoQuestionReachesAnotherTenant' -v -args -isolation-sets 10000

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (default 5s)
	@.ci/tools/fuzz $(or $(FUZZTIME),5s)

.PHONY: kafka-conformance
kafka-conformance: ## Run the Kafka conformance suite against real Apache Kafka
	.ci/kafka-apache/run

.PHONY: bench-collector
bench-collector: engines build ## Compare the collector with a bare handler, in one run
	@$(BIN)/metiva bench collector

.PHONY: bench-collector-profile
bench-collector-profile: engines build ## Take the profile the compiler builds the collector by anew (on a quiet machine)
	$(GO) build -trimpath -pgo=off -o $(BIN)/ ./cmd/collector
	@$(BIN)/metiva bench collector --rounds 1 --profile-dir $(BIN)/profiles
	cp $(BIN)/profiles/collector-cpu.pprof cmd/collector/default.pgo

.PHONY: bench-enrich
bench-enrich: engines build ## Compare the enrich worker with two bare copies of its topic, in one run
	@$(BIN)/metiva bench enrich

.PHONY: bench-pipeline
bench-pipeline: engines build ## Measure beacon to queryable, and the sink beside a bare loop of inserts, in one run
	@$(BIN)/metiva bench pipeline

.PHONY: bench-codecs
bench-codecs: engines build ## Weigh the columns of events in every codec that is in question (some minutes)
	@$(BIN)/metiva bench codecs

.PHONY: bench-outage
bench-outage: engines build ## Take Kafka away and restart collectors under load; fail when anything is lost
	@$(BIN)/metiva bench outage

.PHONY: bench-reads
bench-reads: engines build ## Fill an embedded ClickHouse with five million events and measure every question of a tenant (some minutes)
	@$(BIN)/metiva bench reads

.PHONY: bench
bench: engines ## Run the benchmarks once each
	$(GO) test -run '^$$' -bench . -benchtime 1x ./...

##@ Check

.PHONY: check
check: fmt-check vet lint types schemas-check generate-check ## Formatting, vet, lint, types, contract and generated code

.PHONY: fmt
fmt: ## Format the Go code
	gofmt -w $$(git ls-files '*.go')

.PHONY: fmt-check
fmt-check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not formatted:"; echo "$$out"; exit 1; }

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: lint
lint: $(LINT) ## Run golangci-lint
	$(LINT) run ./...

$(LINT): .ci/tools/go.mod
	@echo "building golangci-lint, about two minutes the first time"
	@mkdir -p $(@D)
	cd .ci/tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: types
types: ## Check the types of the snippet
	@.ci/tools/typecheck

.PHONY: schemas-check
schemas-check: ## Lint the contract and compare it with the last released one
	cd schemas && $(BUF) lint
	cd schemas && $(BUF) breaking --against baseline.binpb

.PHONY: schemas-baseline
schemas-baseline: ## Make today's contract the released one (after a release, never to silence a break)
	cd schemas && $(BUF) build -o baseline.binpb

.PHONY: generate-check
generate-check: generate ## Fail when generated code is not what the sources say
	@git diff --exit-code -- $$(git ls-files '*.pb.go' 'collector/snippet/*.js') || { echo "run make generate and commit"; exit 1; }

##@ Build

.PHONY: build
build: ## Build the binaries into bin/
	@mkdir -p $(BIN)
	$(GO) build -trimpath -o $(BIN)/ $(MAINS:%=./cmd/%)

.PHONY: generate
generate: ## Generate Go from the contract and bundle the snippet
	cd schemas && $(BUF) generate
	$(GO) generate ./...

.PHONY: snippet
snippet: ## Build the snippet and print its size, the last line as JSON
	@cd collector/snippet && $(GO) run ./internal/build

.PHONY: lists
lists: ## Write the vendored lists of crawlers, referrers and mail services anew, from their packages
	@.ci/tools/lists

.PHONY: snippet-release
snippet-release: ## Keep the present scripts among the released ones, for pages that pin them
	cd collector/snippet && $(GO) run ./internal/build -release released

.PHONY: engines
engines: ## Install the embedded engines and the company data into the cache
	@.ci/tools/engines

.PHONY: chromium
chromium: ## Install a Chromium for the browser tests where there is none
	@.ci/tools/chromium

.PHONY: consent-platforms
consent-platforms: ## Install the consent platforms the browser tests run for real
	@.ci/tools/consent-platforms

.PHONY: clean
clean: ## Remove the binaries and the data directory
	rm -rf $(BIN) $(DATA)

##@ Help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
