# The node `quorate` and the example application `kvstore`.
#
#   docker build -t consensus-node:latest .
#   docker build -t consensus-node:latest --build-arg STORE=rocksdb .      # 11 to 13 more minutes on two cores
#
# Where no image registry is reachable, `scripts/testnet docker image` makes both base images first.
# Needs no BuildKit. docs/CONTAINERS.md says how to run it.

ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

# ----------------------------------------------------------------------------------------------------------- build
FROM ${RUST_IMAGE} AS build
# redb, or rocksdb for long-lived nodes
ARG STORE=redb
# release, or quickstart: opt-level 1, built in half the time
ARG PROFILE=release
WORKDIR /src

RUN case "$STORE" in \
      redb) : >/features ;; \
      rocksdb) apt-get update && apt-get install -y --no-install-recommends g++ libclang-dev && echo '--features quorate/rocksdb' >/features ;; \
      *) echo "STORE=$STORE: say redb or rocksdb" >&2; exit 1 ;; \
    esac

# What we depend on is a layer of its own, so that it is compiled again only when it changes: first the manifests with
# empty programs. Tests and benches are left out of them, and so of the image's context (.dockerignore).
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY abci-examples/kvstore/Cargo.toml abci-examples/kvstore/
RUN sed -i '/^\[\[\(test\|bench\)\]\]/,/^$/d' Cargo.toml \
 && mkdir -p src abci-examples/kvstore/src \
 && echo 'fn main() {}' | tee src/main.rs >abci-examples/kvstore/src/main.rs && touch src/lib.rs \
 && cargo build --locked --profile "$PROFILE" -p quorate -p kvstore --no-default-features $(cat /features)

# Files keep their age when they are copied; cargo would take the empty programs for newer.
COPY src src
COPY abci-examples abci-examples
RUN find src abci-examples -name '*.rs' -exec touch {} + \
 && cargo build --locked --profile "$PROFILE" -p quorate -p kvstore --no-default-features $(cat /features) \
 && install -D -t /out "target/$PROFILE/quorate" "target/$PROFILE/kvstore" \
 && strip --strip-debug /out/*

# ------------------------------------------------------------------------------------------------------------- run
FROM ${BASE_IMAGE}
# A number, so that Kubernetes can see that it is not root. /run/quorate is for the application's socket.
RUN groupadd --gid 10001 quorate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/quorate --shell /usr/sbin/nologin quorate \
 && install -d -o quorate -g quorate -m 0750 /var/lib/quorate /run/quorate
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
RUN quorate version && kvstore --version

# Loopback inside a container is nobody's: clients and metrics are served on every interface. What of it can be reached
# from outside is decided where the ports are published.
ENV QUORATE_HOME=/var/lib/quorate \
    QUORATE_RPC_LADDR=tcp://0.0.0.0:26657 \
    QUORATE_INSTRUMENTATION_PROMETHEUS_LISTEN_ADDR=0.0.0.0:26660
VOLUME /var/lib/quorate
# peers, clients, metrics
EXPOSE 26656 26657 26660

# Healthy: the node answers. Ready, which is more (its application is there, it is not catching up), is /readyz.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["quorate", "status"]
# As process 1 it needs no init: it has no children, and SIGTERM stops it in order.
STOPSIGNAL SIGTERM
ENTRYPOINT ["quorate"]
CMD ["start"]
