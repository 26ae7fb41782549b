# The broker alone: Swift's runtime and lz4 are linked in, the process is not root, the root file system may be read-only.
#
#   docker build -t broker .
#   docker run --read-only -p 4222:4222 -p 8222:8222 -v broker-data:/data broker
#
# The only place that is written is /data. Arguments behind the image's name replace the ones of CMD.
FROM swift:6.3-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y liblz4-dev libpq-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN make release PRODUCTS=broker \
    && mkdir -p /image/data

FROM debian:bookworm-slim
COPY --from=build /source/.build/dist/broker /usr/local/bin/broker
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
VOLUME /data
EXPOSE 4222 8222
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/broker"]
CMD ["serve", "-st", "file", "-dir", "/data", "-p", "4222", "-m", "8222"]
