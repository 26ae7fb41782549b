# Two commands do everything on a fresh Debian machine with Swift: `make run` and `make test`.
# Every target installs what it lacks first and says so in one line; when all is there it is silent.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Arguments of the broker for `make run`, e.g. make run ARGS="-p 4333 -st memory"
ARGS ?=
# What `make bench` measures: a comma-separated list of scenarios (all when empty), and how many rounds.
SCENARIO ?=
ROUNDS ?= 5
# What `make release` builds.
PRODUCTS ?= broker migrate users projects
# The chaos run: how long, and which one (a seed of its own when empty).
DURATION ?= 60
SEED ?=
# How many seeds `make soak` runs, and the first one.
SEEDS ?= 100000
FIRST ?= 1
# The broker that the conformance and kill tests start.
BROKER ?= $(CURDIR)/.build/debug/broker

# Exclusive access is checked at run time in debug builds only, that of the packages we use too: docs/decisions/0030.
RELEASE := -c release -Xswiftc -enforce-exclusivity=unchecked

STAMPS := .build/stamps
VENV := .build/venv
VENV_STREAMING := .build/venv-streaming
VENV_SERVICES := .build/venv-services

.PHONY: help run up build test lint fmt bench bench-services sanitize release clean
.PHONY: test-swift test-conformance test-end-to-end test-faults test-mutants test-services soak chaos api-test
.PHONY: images cluster-up cluster-down tls-secret

help: ## Lists the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

run: $(STAMPS)/build-packages ## Builds the broker (release) and starts it on port 4222, data in ./data.
	@swift build $(RELEASE) --product broker
	@exec .build/release/broker $(ARGS)

up: $(STAMPS)/build-packages $(STAMPS)/venv-services ## The whole backend on this machine, without Kubernetes; Ctrl-C stops it.
	@for product in broker migrate users projects; do swift build --product $$product; done
	@exec Tests/Services/Backend/up

build: $(STAMPS)/build-packages ## Builds everything (debug), tests included.
	@swift build --build-tests

test: ## Lint, unit tests, simulation, real clients, kill tests, the services, power cuts and failing disks, mutants.
	@.ci/test

lint: $(STAMPS)/venv ## Format, rules that are cheap to check, container file.
	@.ci/lint

fmt: ## Formats every Swift file in place.
	@swift format -i -r -p Package.swift Sources Tests

# One run for each test target: some keep both cores busy, and others wait for sockets with a bound.
test-swift: build
	@failed=0; targets=$$(.ci/test-targets); for target in $$targets; do \
	  echo "--> $$target"; timeout --foreground -k 30 1200 swift test --skip-build --filter "^$$target\." || failed=1; \
	  done; exit $$failed

test-conformance: build $(STAMPS)/venv $(STAMPS)/venv-streaming $(STAMPS)/libnats
	@BROKER="$(BROKER)" Tests/Conformance/run

test-end-to-end: build $(STAMPS)/venv $(STAMPS)/libnats
	@BROKER="$(BROKER)" Tests/EndToEnd/run

test-services: build $(STAMPS)/venv-services $(STAMPS)/venv-streaming
	@BROKER="$(BROKER)" Tests/Services/Scenarios/run

chaos: build $(STAMPS)/venv-services ## Kills services and broker at random under load: DURATION=60 SEED=…
	@BROKER="$(BROKER)" CHAOS_SECONDS=$(DURATION) CHAOS_SEED=$(SEED) Tests/Services/Scenarios/run -s -k chaos --timeout $$(($(DURATION) + 600))

api-test: build $(STAMPS)/venv-services ## Requests made from the OpenAPI documents, by schemathesis.
	@BROKER="$(BROKER)" Tests/Services/APITest/run

test-faults: build $(STAMPS)/venv $(STAMPS)/libnats $(STAMPS)/disks
	@BROKER="$(BROKER)" Tests/Faults/run

test-mutants: $(STAMPS)/build-packages
	@Tests/Mutants/run

soak: $(STAMPS)/build-packages ## The simulation and the fuzzers for longer: SEEDS=100000 FIRST=1
	@swift build --build-tests
	@SIMULATION_SEEDS=$(SEEDS) SIMULATION_FIRST=$(FIRST) FUZZ_ROUNDS=$(SEEDS) SIMULATION_EVERY_BYTE=1 \
	  swift test --skip-build --filter '^SimulationTests\.|^BrokerLogTests\.HostileFile'

bench: $(STAMPS)/build-packages $(STAMPS)/venv ## Ratios against nats-server 2.15.1: SCENARIO=core,… ROUNDS=5
	@swift build $(RELEASE) --product broker
	@$(VENV)/bin/python Benchmarks/run.py --broker .build/release/broker \
	  --rounds $(ROUNDS) $(if $(SCENARIO),--scenario $(SCENARIO)) $(BENCH_ARGS)

bench-services: release $(STAMPS)/venv-services ## Requests against the same SQL by pgbench, event lag, memory.
	@.ci/require wrk
	@Benchmarks/Services/run $(BENCH_ARGS)

sanitize: $(STAMPS)/build-packages ## Unit tests, fuzzers and simulation under the address and thread sanitizers.
	@.ci/sanitize

# pkg-config finds our own description of lz4 first, whose folder holds nothing but static libraries, which the linker
# finds first too. `migrate` is over in milliseconds: docs/decisions/0028 says what each word to the linker is for.
MIGRATE := --disable-local-rpath -Xswiftc -use-ld=lld -Xswiftc -Xfrontend -Xswiftc -function-sections \
  -Xswiftc -Xfrontend -Xswiftc -disable-concrete-type-metadata-mangled-name-accessors \
  -Xswiftc -Xclang-linker -Xswiftc -static-libgcc $(foreach word,--no-pie --no-export-dynamic --no-warn-symbol-ordering \
  --symbol-ordering-file=$(CURDIR)/Benchmarks/Migrate/functions.order,-Xlinker $(word))
release: $(STAMPS)/build-packages ## Each of PRODUCTS with Swift's runtime (and lz4) linked in, stripped: .build/dist
	@mkdir -p .build/static-libraries/migrate .build/dist
	@for library in lz4 stdc++; do \
	  ln -sf "$$(gcc -print-file-name=lib$$library.a)" .build/static-libraries/lib$$library.a; done
	@printf 'Name: lz4\nDescription: lz4, static\nVersion: 1.9\nLibs: -L%s -llz4\nCflags:\n' \
	  "$(CURDIR)/.build/static-libraries" > .build/static-libraries/liblz4.pc
	@printf 'INPUT(%s -lc -l:libpq.so.5)\n' "$$(ldd "$$(pg_config --libdir)/libpq.so.5" | grep -oE 'lib(gnutls|crypto)\.so[.0-9]* ' \
	  | sort -ru | sed 's/^/-l:/' | tr -d '\n')" > .build/static-libraries/migrate/libpq.so
	@printf 'Name: libpq\nDescription: libpq, behind others\nVersion: 15\nLibs: -L%s -lpq\nCflags: -I%s\n' \
	  "$(CURDIR)/.build/static-libraries/migrate" "$$(pg_config --includedir)" > .build/static-libraries/migrate/libpq.pc
	@for product in $(PRODUCTS); do \
	  PKG_CONFIG_PATH=$(CURDIR)/.build/static-libraries/$$product:$(CURDIR)/.build/static-libraries \
	  swift build $(RELEASE) --product $$product \
	    --static-swift-stdlib --scratch-path .build/static -Xlinker -L$(CURDIR)/.build/static-libraries \
	    $$([ $$product = migrate ] && echo "$(MIGRATE)"); \
	  strip -o .build/dist/$$product .build/static/release/$$product; done
	@cd .build/dist && ls -l $(PRODUCTS)

# In a cluster: images, and the original's `up` and `down` under names of their own.

last = $(lastword $(sort $(patsubst %_,%,$(foreach file,$(notdir $(wildcard $(1)/*.up.sql)),$(firstword $(subst _, ,$(file)))))))
migration-image = docker build -f images/migration.Dockerfile --build-arg MIGRATIONS=$(2) \
  -t devpies/$(1)-migration:v$(call last,$(2)) .

images: ## The images of the three databases' migrations, tagged by the last of them.
	$(call migration-image,mic-db-users,Sources/Services/Users/Migrations)
	$(call migration-image,mic-db-projects,Sources/Services/Projects/Migrations)
	$(call migration-image,msg-db-nats,nats/migrations)

cluster-up: images ## Images, databases, and `tilt up`, in the cluster of Docker Desktop.
	kubectl config use-context docker-desktop
	kubectl apply -f manifests/secrets.yaml -f manifests/db-users-depl.yaml -f manifests/db-projects-depl.yaml
	tilt up

cluster-down: ## Ends what `cluster-up` began; the volumes stay.
	tilt down
	kubectl delete deployment,service mic-db-users-depl mic-db-users-svc mic-db-projects-depl mic-db-projects-svc \
	  --ignore-not-found

tls-secret: ## manifests/ingress-tls-secrets.yaml with a new self-signed certificate for localhost; git ignores it.
	@key=$$(mktemp) && certificate=$$(mktemp) && trap 'rm -f $$key $$certificate' EXIT && \
	openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
	  -keyout $$key -out $$certificate 2>/dev/null && \
	printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: ingress-tls-secrets\ntype: kubernetes.io/tls\ndata:\n  tls.crt: %s\n  tls.key: %s\n' \
	  "$$(base64 -w0 $$certificate)" "$$(base64 -w0 $$key)" > manifests/ingress-tls-secrets.yaml
	@echo manifests/ingress-tls-secrets.yaml

clean: ## Removes everything that was built or installed under .build.
	@rm -rf .build

# What is needed. Debian packages are machine-wide, so each check asks dpkg once per checkout.

$(STAMPS)/build-packages: .ci/require
	@.ci/require liblz4-dev libpq-dev postgresql openssl procps python3 curl gcc libc6-dev
	@mkdir -p $(@D) && touch $@

$(STAMPS)/libnats: .ci/require
	@.ci/require libnats-dev gcc libc6-dev
	@mkdir -p $(@D) && touch $@

$(STAMPS)/disks: .ci/require
	@.ci/require e2fsprogs mount gcc libc6-dev
	@mkdir -p $(@D) && touch $@

$(STAMPS)/venv: Tests/Conformance/requirements.txt .ci/require
	@.ci/require python3-venv protobuf-compiler
	@echo "Installing the Python packages of $< into $(VENV)"
	@rm -rf $(VENV) && python3 -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@mkdir -p $(@D) && touch $@

$(STAMPS)/venv-streaming: Tests/Conformance/requirements-streaming.txt .ci/require
	@.ci/require python3-venv
	@echo "Installing the Python packages of $< into $(VENV_STREAMING)"
	@rm -rf $(VENV_STREAMING) && python3 -m venv $(VENV_STREAMING)
	@$(VENV_STREAMING)/bin/pip install --quiet --disable-pip-version-check -r $<
	@mkdir -p $(@D) && touch $@

$(STAMPS)/venv-services: Tests/Services/Backend/requirements.txt .ci/require
	@.ci/require python3-venv protobuf-compiler postgresql procps util-linux
	@echo "Installing the Python packages of $< into $(VENV_SERVICES)"
	@rm -rf $(VENV_SERVICES) && python3 -m venv $(VENV_SERVICES)
	@$(VENV_SERVICES)/bin/pip install --quiet --disable-pip-version-check -r $<
	@mkdir -p $(@D) && touch $@
