# Every target that a person calls has a ## comment; "make help" prints them.

GO      ?= go
MYSQL   ?= $(HOME)/.cache/stetl-test/mysql
LINT    := $(GO) tool -modfile=tools/lint.mod golangci-lint
BUF     := $(GO) tool -modfile=tools/buf.mod buf
ACTIONS := $(GO) tool -modfile=tools/actionlint.mod actionlint
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/stetl
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/stetl ./cmd/stetl

.PHONY: test
test: ## run every test, with real servers; says at the end what was skipped and why
	@GO="$(GO)" sh tools/test.sh

.PHONY: test-fast
test-fast: ## the tests that need no server and take no time, while you work
	$(GO) test -short ./...

.PHONY: test-keycloak-matrix
test-keycloak-matrix: ## the tests on real Keycloak servers, on the oldest and the newest one covered, and on PostgreSQL
	STETL_KEYCLOAK_VERSION=26.0.8 $(GO) test -tags matrix -timeout 30m -run 'Server|TestQuirks' -skip 'Postgres' ./plugins/keycloak
	STETL_KEYCLOAK_VERSION=26.7.3 $(GO) test -tags matrix -timeout 30m -run 'Server|TestQuirks' ./plugins/keycloak

.PHONY: test-bridge
test-bridge: ## thirty rounds of two, three and four tabs of Chromium at once, on a real Keycloak (STETL_TAB_ROUNDS)
	STETL_TAB_ROUNDS=$(or $(STETL_TAB_ROUNDS),30) $(GO) test -timeout 60m -run 'TestKeycloak/Tabs' -v ./internal/e2e

.PHONY: test-realms
test-realms: ## fifty tenants of one source into fifty realms of a real Keycloak (STETL_REALMS)
	STETL_REALMS=$(or $(STETL_REALMS),50) $(GO) test -timeout 60m -run 'TestKeycloak/Realms' -v ./internal/e2e

.PHONY: test-kratos
test-kratos: ## the tests of examples/kratos on a real Ory Kratos, which is built at the first time
	STETL_TEST_KRATOS=1 $(GO) test -timeout 30m -count 1 ./internal/testserver/kratos ./examples/kratos
	STETL_TEST_KRATOS=1 $(GO) test -timeout 30m -count 1 -run TestKratos ./internal/e2e

.PHONY: test-mysql
test-mysql: ## the tests that use MariaDB, on a MySQL of Debian's unstable suite, which apt fetches at the first time (not in .ci/run)
	sh tools/mysql.sh $(MYSQL)
	STETL_TEST_MYSQL=$(MYSQL) $(GO) test -timeout 30m -count 1 ./internal/testserver/mariadb ./core/supertokens/session ./core/supertokens/cutover ./plugins/generic-sql
	STETL_TEST_MYSQL=$(MYSQL) $(GO) test -timeout 30m -count 1 -run MySQL ./core/supertokens
	STETL_TEST_MYSQL=$(MYSQL) $(GO) test -timeout 30m -count 1 -run 'BetterAuth|SQLCrash|OverMySQL|Tables|AuthJS' ./internal/e2e

.PHONY: test-work
test-work: ## what is too slow under the race detector: every part of every source is refused or read alike; a plugin that breaks a rule of the kit keeps all others; twice the logins of an account cost at most 2.5 times the statements
	$(GO) test -timeout 30m -run 'LeftOut' -v ./core/supertokens
	$(GO) test -timeout 30m -run 'RuleIsBrokenAlone' ./core/sdk/conformance
	$(GO) test -tags work -timeout 30m -run TwiceTheLogins -v ./cmd/stetl

.PHONY: lint
lint: ## formatting and static checks
	$(LINT) run ./...

.PHONY: fmt
fmt: ## format the Go code
	$(LINT) fmt ./...

.PHONY: generate
generate: ## generate code from the protocol's .proto files
	$(BUF) generate
	$(BUF) build --exclude-source-info --as-file-descriptor-set -o examples/python/stetl_plugin/protocol.binpb
	cp core/pluginpb/proto/stetl/plugin/v1/*.proto examples/node/stetl-plugin/proto/stetl/plugin/v1/

.PHONY: protocol-baseline
protocol-baseline: ## take the protocol as it is for the one that later ones must not break (once a release)
	$(BUF) build -o core/pluginpb/baseline-v1.binpb

.PHONY: release-snapshot
release-snapshot: ## make everything of a release in dist/, which is emptied first: archives, deb and rpm, the protocol, image, formula, bill of materials, checksums
	$(GO) run ./internal/release -out dist

.PHONY: release-sign
release-sign: ## sign dist/checksums.txt with the SSH key in STETL_SIGNING_KEY
	ssh-keygen -Y sign -n stetl-release -f "$(STETL_SIGNING_KEY)" dist/checksums.txt

.PHONY: test-release
test-release: ## a release made twice is the same; it works on a bare root without Go and network, beside the other stetl, and as an image
	$(GO) test -tags release -timeout 60m -count 1 -v ./internal/release

.PHONY: provider
provider: ## build the Keycloak password-hash provider that is embedded in stetl
	sh plugins/keycloak/provider/build.sh

.PHONY: verify
verify: lint ## what a commit must pass beside the tests: lint, the protocol, the workflows, generated code
	$(BUF) lint
	$(BUF) breaking --against core/pluginpb/baseline-v1.binpb
	$(ACTIONS) .github/workflows/*.yml examples/deploy/github/*.yml
	sh tools/verify.sh

.PHONY: manifests
manifests: ## hold the examples for Kubernetes to the types of its API
	cd tools/manifests && $(GO) test ./...

.PHONY: site
site: ## build the site in dist/site from the Markdown, with MkDocs in an environment of its own (STETL_SITE_ENV, default dist/site-env)
	sh tools/site/build.sh

.PHONY: bench-extract
bench-extract: ## accounts/s and peak memory of extraction beside COPY and SELECT (STETL_BENCH_SIZES, and STETL_BENCH_KINDS of live,plain,custom,mysql,mysqldump)
	STETL_BENCH=1 $(GO) test -timeout 90m -run '^$$' -bench BenchmarkExtract -benchtime 1x ./core/supertokens

.PHONY: bench-engine
bench-engine: ## a first and a second run beside bare extraction, and the outcomes/s and ns/account of both kinds of journal (STETL_BENCH_ACCOUNTS, default 1000000)
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),1000000) $(GO) test -timeout 30m -run '^$$' -bench BenchmarkFirstRun -benchtime 2x ./core/migration
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),1000000) $(GO) test -timeout 30m -run '^$$' -bench BenchmarkSecondRun -benchtime 5x ./core/migration
	$(GO) test -run '^$$' -bench . ./core/journal/sqlite ./core/journal/postgres

.PHONY: bench-bridge
bench-bridge: ## hand-overs/s and p99 of the bridge beside the database's own transactions (STETL_BENCH_SESSIONS, default 2000)
	$(GO) test -timeout 30m -run '^$$' -bench BenchmarkHandover -benchtime 1x ./core/bridge

.PHONY: bench-scim
bench-scim: ## loading into SCIMMY with 0, 40 and 200 ms latency, beside every fixed setting and one POST after another (STETL_BENCH_USERS)
	STETL_BENCH=1 $(GO) test -timeout 30m -run '^$$' -bench BenchmarkSCIM -benchtime 1x -v ./plugins/generic-scim

.PHONY: bench-sql
bench-sql: ## users/s into the tables of Better Auth beside COPY of the same rows and beside one INSERT for each (STETL_BENCH_ACCOUNTS, default 100000)
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),100000) $(GO) test -timeout 60m -run '^$$' -bench BenchmarkSQL -benchtime 1x ./plugins/generic-sql

.PHONY: test-better-auth
test-better-auth: ## every password of every fixture signs in to a real Better Auth
	STETL_TEST_EVERY_SIGN_IN=1 $(GO) test -timeout 60m -run TestBetterAuth -v ./internal/e2e

.PHONY: bench-plugin
bench-plugin: ## users/s through the plugin boundary, at 200 a batch, and what the plugin's process takes
	$(GO) test -run '^$$' -bench BenchmarkLoad -benchtime 3s ./core/plugin

.PHONY: fuzz
fuzz: ## fuzz every fuzz target for FUZZTIME each (default 30s)
	@GO="$(GO)" FUZZTIME="$(or $(FUZZTIME),30s)" sh tools/fuzz.sh

.PHONY: bench-keycloak
bench-keycloak: ## users/s into a real Keycloak beside gocloak and kc.sh import (STETL_BENCH_ACCOUNTS, default 20000)
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),20000) $(GO) test -timeout 60m -run '^$$' -bench 'BenchmarkKeycloak$$' -benchtime 1x ./internal/e2e

.PHONY: bench-keycloak-delta
bench-keycloak-delta: ## what comes after a first load: dry run, verify, --full, deltas, undo, with and without the provider's endpoints (STETL_BENCH_ACCOUNTS, default 20000)
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),20000) $(GO) test -timeout 120m -run '^$$' -bench 'BenchmarkKeycloakDelta$$' -benchtime 1x ./internal/e2e

.PHONY: bench-keycloak-profile
bench-keycloak-profile: ## where the time of a load, a verify and an undo goes, in the server and here (STETL_BENCH_ACCOUNTS, default 5000)
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),5000) $(GO) test -timeout 60m -run '^$$' -bench 'BenchmarkKeycloakProfile$$' -benchtime 1x ./internal/e2e

.PHONY: bench-keycloak-sweep
bench-keycloak-sweep: ## the same by batch size and number of parallel requests (STETL_BENCH_ACCOUNTS each, default 2000)
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),2000) $(GO) test -timeout 60m -run '^$$' -bench 'BenchmarkKeycloakSweep$$' -benchtime 1x ./internal/e2e

.PHONY: bench-auth0
bench-auth0: ## how full import jobs are, how long slots idle, the time beside the ideal one; jobs and requests of a later run (STETL_BENCH_ACCOUNTS, default 20000)
	STETL_BENCH_ACCOUNTS=$(or $(STETL_BENCH_ACCOUNTS),20000) $(GO) test -timeout 30m -run '^$$' -bench 'BenchmarkImport|BenchmarkDelta' -benchtime 1x ./plugins/auth0
