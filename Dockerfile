# Two images of one program:
#   docker build --target agent .   the co-worker, for real organisations
#   docker build --target demo .    the co-worker with the simulated organisation (the default)

FROM rust:1.95.0-slim-bookworm AS builder
WORKDIR /build
# First the dependencies alone, on an empty program: a layer that lasts until Cargo.lock changes.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
COPY policies policies
COPY prompts prompts
COPY static static
COPY templates templates
COPY src src
# The empty program is newer than the copied files by the clock that cargo looks at.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked

FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 coworker \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin coworker \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=builder /build/target/release/ado-coworker /usr/local/bin/ado-coworker
# The working folder holds what is written: data/ado-coworker.db of `serve`, the world of `demo`.
WORKDIR /data
VOLUME /data
EXPOSE 4192
STOPSIGNAL SIGTERM
ENTRYPOINT ["ado-coworker"]

FROM base AS agent
ENV DATABASE_URL=sqlite:/data/ado-coworker.db
USER 10001:10001
CMD ["serve"]
HEALTHCHECK --interval=30s --timeout=12s --start-period=20s --retries=3 CMD ["ado-coworker", "healthcheck"]

FROM base AS demo
# The simulated organisation serves its repositories with git.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
EXPOSE 4193
USER 10001:10001
CMD ["demo", "--listen", "0.0.0.0", "--data", "/data"]
# The demo finds its settings by itself, so the page is asked, not `healthcheck`, which reads them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4192 && printf 'GET /readyz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
