# The commands of this repository. `make` alone lists them.
#
# Nothing needs to be set: no GOFLAGS, no GOPATH, no path. go.work joins the
# modules; what is published is also built and tested without it (see alone).

SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help

# Modules of go.work, and of these the ones that others require.
MODULES   := backend backend/conformance backend/cmd/streamer client-go contract/gen examples e2e
PUBLISHED := backend client-go
PACKAGES  := $(MODULES:%=./%/...)

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := bin/golangci-lint-$(GOLANGCI_VERSION)

# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 10s
# Flags for go test, as in: make test TESTFLAGS='-run TestJWKS -v'
TESTFLAGS ?=

# Flags for make bench.
BENCHFLAGS ?=

# Flags for make conform.
CONFORMFLAGS ?= --help

# Flags for make chaos.
CHAOSFLAGS ?=

# Flags for make locks.
LOCKSFLAGS ?= -v

# The race detector watches all code but SQLite's, which is C translated to Go,
# runs on one goroutine a connection, and takes ten times as long when watched.
RACE := -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc/...=-race=false'

# A line with the time before each step, so that a log shows where it went.
step = @printf '== %s  %s\n' "$$(date +%T)" "$(1)"

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: generated vet words ## Before each commit: generated files, vet, unit and contract tests; under 3 minutes
	$(call step,go test -short)
	@go test -short -timeout 45m $(TESTFLAGS) $(PACKAGES)
	$(call step,check is done)

.PHONY: test
test: tools generated vet words ## What CI runs: all tests under the race detector, the benchmarks built, each published module alone
	$(call step,go test -race)
	@go test $(RACE) -timeout 45m $(TESTFLAGS) $(PACKAGES)
	@$(MAKE) --no-print-directory bench-build alone
	$(call step,test is done)

.PHONY: generated
generated: ## Fail when a generated file is not what the generator writes
	$(call step,generated files)
	@go run ./contract/gen -check

.PHONY: vet
vet: ## Run go vet over all modules
	$(call step,go vet)
	@go vet $(PACKAGES)

.PHONY: words
words: ## Fail when a name holds a word of e2e/words/words.txt, or too many functions have short names
	$(call step,words)
	@go run ./e2e/words

.PHONY: alone
alone: ## Build and test each published module by itself: copied elsewhere, without go.work
	@for module in $(PUBLISHED); do \
		printf '== %s  %s alone\n' "$$(date +%T)" "$$module"; \
		copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
		git ls-files -z --cached --others --exclude-standard -- "$$module" ':!backend/cmd/streamer' ':!backend/conformance' \
			| while IFS= read -r -d '' file; do if [ -e "$$file" ]; then printf '%s\0' "$$file"; fi; done \
			| tar --null --no-recursion -T - -c | tar -x -C "$$copy"; \
		(cd "$$copy/$$module" && GOWORK=off go vet ./... && GOWORK=off go test -short -timeout 45m ./...); \
		rm -rf "$$copy"; \
	done

.PHONY: tools
tools: ## Install what tests need from the system (strace), where this may be done; elsewhere say so
	@if command -v strace >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get install -y --no-install-recommends strace \
			|| { apt-get update && apt-get install -y --no-install-recommends strace; } || true; \
	fi; \
	command -v strace >/dev/null || echo 'strace is missing: tests of what reaches the disk will be skipped, or fail if CI=true'

.PHONY: generate
generate: ## Write the generated files anew
	$(call step,contract/gen)
	@go run ./contract/gen
	@go generate $(PACKAGES)

.PHONY: fmt
fmt: $(GOLANGCI) ## Format all Go code (gofumpt, gci)
	@for module in $(MODULES) bench; do (cd "$$module" && $(CURDIR)/$(GOLANGCI) fmt --config $(CURDIR)/.golangci.yml); done

.PHONY: lint
lint: $(GOLANGCI) ## Run golangci-lint over all modules (builds it the first time: minutes)
	@failed=0; for module in $(MODULES); do \
		if [ -z "$$(cd "$$module" && go list ./... 2>/dev/null)" ]; then continue; fi; \
		printf '== %s  golangci-lint %s\n' "$$(date +%T)" "$$module"; \
		(cd "$$module" && $(CURDIR)/$(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...) || failed=1; \
	done; exit $$failed

$(GOLANGCI):
	$(call step,building golangci-lint $(GOLANGCI_VERSION))
	@mkdir -p bin
	@GOWORK=off GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv bin/golangci-lint $(GOLANGCI)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@for module in $(MODULES); do (cd "$$module" && \
		{ grep -rHoE --include='*_test.go' --exclude-dir=cmd --exclude-dir=conformance '^func Fuzz[A-Za-z0-9_]+' . || true; } | sed 's/:func / /' | while read -r file target; do \
			printf '== %s  %s/%s %s\n' "$$(date +%T)" "$$module" "$$(dirname "$${file#./}")" "$$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
		done); done

.PHONY: bench-tools
bench-tools: ## Install what the peers in bench need (PostgreSQL, Redis), where this may be done; elsewhere say so
	@bench/tools.sh

.PHONY: bench
bench: bench-tools ## Measure beside yardsticks of the same run, and print a table (BENCHFLAGS='-quick', '-help')
	@cd bench && GOWORK=off go run . $(BENCHFLAGS)

.PHONY: bench-build
bench-build: ## Vet and try out the module bench, which go.work does not hold
	$(call step,bench)
	@cd bench && GOWORK=off go vet ./... && GOWORK=off go test -timeout 45m ./...

.PHONY: e2e
e2e: ## Run the end-to-end tests alone, under the race detector
	$(call step,e2e)
	@go test $(RACE) -count=1 -timeout 45m $(TESTFLAGS) ./e2e/...

.PHONY: chaos
chaos: tools ## Kill a real server 1,000 times, and check what is left (CHAOSFLAGS='-kills 50', '-help')
	@go run ./e2e/chaos $(CHAOSFLAGS)

.PHONY: locks
locks: ## Count the lock acquisitions of a durable call, and say where they are (LOCKSFLAGS='-dir OTHER_TREE')
	@go run ./e2e/lockcount $(LOCKSFLAGS)

.PHONY: conform
conform: ## Play the transcripts against a server or a client (CONFORMFLAGS='--url ws://127.0.0.1:8080 ...', '--help')
	@go run ./backend/cmd/streamer conform $(CONFORMFLAGS)

.PHONY: faults
faults: ## Run the Go client against a gateway that injects faults, with 400 seeds; a minute
	@STREAMER_FAULT_SEEDS=400 go test -count=1 -timeout 45m -run TestClientFaults ./e2e

.PHONY: attack
attack: ## Attack a server in some thirty ways, and print the answers
	@go test -count=1 -timeout 45m -run 'TestAttack$$' -v ./e2e

.PHONY: dev
dev: ## Run the demo server on this machine, and say what to try with it
	@go run ./backend/cmd/streamer demo

.PHONY: clean
clean: ## Remove what was built here
	@rm -rf bin
	@find . -name '*.test' -type f -not -path './.git/*' -delete
