# Everything here needs only Go, git and make; what needs more says so.
# `make` alone lists the targets.

GO        ?= go
FUZZTIME  ?= 5s
FOR       ?= 3m
BENCHTIME ?= 1s
BENCH     ?= .
PKG       ?= ./...
SEEDS     ?= 200
SEED      ?= 1

# 2026.2.2; raised by hand, so that a new release never breaks an old commit.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

# The race detector needs cgo, a C compiler with libc's headers, and a
# processor that it knows. Without one of them the tests run plain.
RACE = $(shell $(GO) list -race . >/dev/null 2>&1 && \
	$$($(GO) env CC) -include stdlib.h -x c -fsyntax-only /dev/null 2>/dev/null && echo -race)

.DEFAULT_GOAL := help
.PHONY: help build test lint sim mutants chaos fuzz bench cross clean

help: ## list the targets
	@echo "usage: make TARGET"
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-7s %s\n", $$1, $$2 }'

build: ## build bin/pando
	$(GO) build -trimpath -o bin/pando .

# One package at a time: several bring up whole trees, whose liveness limits
# are half a second, and would only disturb each other.
test: ## run all tests, with the race detector where there is a C compiler (PKG=./wal)
	$(GO) test $(RACE) -p 1 $(PKG)

lint: ## check format, go vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted; run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

sim: ## simulate trees under faults, one for each of SEEDS seeds from SEED on
	$(GO) run . sim --seed $(SEED) --seeds $(SEEDS)

mutants: ## break the product on purpose and show that the simulation sees it
	GO="$(GO)" scripts/mutants.sh

chaos: ## put real processes through faults for FOR, as root (FOR=3m)
	scripts/chaos.sh --for $(FOR)

fuzz: ## run every fuzz target for FUZZTIME each (5s; PKG=./wal)
	GO="$(GO)" scripts/fuzz.sh $(FUZZTIME) $(PKG)

bench: ## run the benchmarks (BENCH=regexp BENCHTIME=1s PKG=./wal)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) $(PKG)

cross: ## build for other platforms, compare golden bytes under emulation, look for fused floats
	GO="$(GO)" scripts/cross.sh
	GO="$(GO)" scripts/fma-check.sh

clean: ## remove what make built
	rm -rf bin
