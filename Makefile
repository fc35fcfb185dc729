# Builds what is compiled: native addons and BPF objects. `npm run build` runs it after the set-up.
# Each output is written beside its place and moved there whole: whoever loads it never sees half of one.
ARCH := $(shell uname -m | sed -e s/x86_64/x64/ -e s/aarch64/arm64/)
NODE_INCLUDE := node_modules/node-linux-$(ARCH)/include/node
CFLAGS := -O2 -g -fPIC -Wall -Wextra -Wno-unused-parameter -std=gnu11 -D_GNU_SOURCE -DNAPI_VERSION=9 -I$(NODE_INCLUDE)
# Names are the addon's own: two addons of one process may hold the same ones.
ADDON_CFLAGS := $(CFLAGS) -fvisibility=hidden -pthread -shared
CLANG ?= clang
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Ibpf -I/usr/include/$(shell uname -m)-linux-gnu

ADDON_BPF := $(wildcard bpf/addon/*.c)
# What addons share is compiled into each of them; see ADDON_CFLAGS.
NATIVE := $(wildcard src/base/native/*.c)
NATIVE_HEADERS := $(wildcard src/base/native/*.h)
PROBES_COMMON := $(wildcard probes/common/*.c) $(NATIVE)
PROBES_HEADERS := $(wildcard probes/common/*.h) $(NATIVE_HEADERS)
ADDON_SOCKETS := $(wildcard src/base/sockets/*.c)
ADDON_ICMP := $(wildcard probes/icmp/*.c)
ADDON_ENGINE := $(wildcard probes/engine/*.c)
BPF_HEADERS := $(wildcard bpf/lib/*.h)

all: $(if $(ADDON_BPF),build/bpf.node) $(if $(ADDON_SOCKETS),build/sockets.node) $(if $(ADDON_ICMP),build/icmp.node) \
     $(if $(ADDON_ENGINE),build/engine.node) \
     $(if $(wildcard bpf/ciliate.bpf.c),build/ciliate.bpf.o) $(if $(wildcard bpf/health.bpf.c),build/health.bpf.o) \
     dist/main.cjs

build/bpf.node: $(ADDON_BPF) $(wildcard bpf/addon/*.h) | build
	$(CC) $(ADDON_CFLAGS) -o $@.new $(ADDON_BPF) -lbpf
	mv $@.new $@

build/sockets.node: $(ADDON_SOCKETS) $(NATIVE) $(wildcard src/base/sockets/*.h) $(NATIVE_HEADERS) | build
	$(CC) $(ADDON_CFLAGS) -o $@.new $(ADDON_SOCKETS) $(NATIVE)
	mv $@.new $@

build/icmp.node: $(ADDON_ICMP) $(PROBES_COMMON) $(wildcard probes/icmp/*.h) $(PROBES_HEADERS) | build
	$(CC) $(ADDON_CFLAGS) -o $@.new $(ADDON_ICMP) $(PROBES_COMMON)
	mv $@.new $@

build/engine.node: $(ADDON_ENGINE) $(PROBES_COMMON) $(wildcard probes/engine/*.h) $(PROBES_HEADERS) \
                   bpf/lib/probe_structs.h | build
	$(CC) $(ADDON_CFLAGS) -o $@.new $(ADDON_ENGINE) $(PROBES_COMMON)
	mv $@.new $@

build/%.bpf.o: bpf/%.bpf.c $(BPF_HEADERS) $(wildcard bpf/*.c) | build
	$(CLANG) $(BPF_CFLAGS) -c -o $@.new $<
	llvm-strip -g $@.new 2>/dev/null || true
	mv $@.new $@

build build/sanitize:
	mkdir -p $@

# The addons once more, watched by the compiler's sanitizers; scripts/sanitize.ts runs tests on them.
# `make sanitize SANITIZE=thread TESTS=test/probes/engine.test.ts` for others of both.
SANITIZE := address,undefined
TESTS :=
SANITIZED := $(patsubst %,build/sanitize/%.node,bpf sockets icmp engine)
SANITIZE_CFLAGS := $(filter-out -O2,$(ADDON_CFLAGS)) -O1 -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined \
                   -fno-omit-frame-pointer

build/sanitize/bpf.node: $(ADDON_BPF) $(wildcard bpf/addon/*.h)
build/sanitize/sockets.node: $(ADDON_SOCKETS) $(NATIVE) $(wildcard src/base/sockets/*.h) $(NATIVE_HEADERS)
build/sanitize/icmp.node: $(ADDON_ICMP) $(PROBES_COMMON) $(wildcard probes/icmp/*.h) $(PROBES_HEADERS)
build/sanitize/engine.node: $(ADDON_ENGINE) $(PROBES_COMMON) $(wildcard probes/engine/*.h) $(PROBES_HEADERS) \
                            bpf/lib/probe_structs.h
$(SANITIZED): build/sanitize/with-$(SANITIZE) | build/sanitize
	$(CC) $(SANITIZE_CFLAGS) -o $@.new $(filter %.c,$^) $(if $(filter %/bpf.node,$@),-lbpf)
	mv $@.new $@

# Which sanitizers the addons were built with: others make them anew.
build/sanitize/with-$(SANITIZE): | build/sanitize
	rm -f build/sanitize/*
	touch $@

sanitize: all $(SANITIZED)
	node_modules/.bin/node scripts/sanitize.ts $(SANITIZE) $(TESTS)


# The command line as few files of JavaScript; `bin/ciliate` takes it unless a source is newer.
bundle: dist/main.cjs
dist/main.cjs: package.json scripts/bundle.ts scripts/warm-bundle.ts $(shell find bin commands src bpf probes bugtool web -name '*.ts' 2>/dev/null) \
                web/index.html web/style.css
	node_modules/.bin/node scripts/bundle.ts

clean:
	rm -rf build dist

.PHONY: all bundle clean sanitize
