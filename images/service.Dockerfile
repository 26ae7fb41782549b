# One service: Swift's runtime is linked in, the process is not root, the root file system may be read-only.
#
#   docker build -f images/service.Dockerfile --build-arg SERVICE=users -t devpies/mic-users .
#   docker run --read-only -p 4000:4000 --env-file … devpies/mic-users
#
# Nothing is written. libpq and the certificates of the public authorities come from Debian.
FROM swift:6.3-bookworm AS build
ARG SERVICE
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y liblz4-dev libpq-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN make release PRODUCTS="${SERVICE:?use --build-arg SERVICE=users or projects}" \
    && mv ".build/dist/${SERVICE}" /service

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y ca-certificates libpq5 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /service /usr/local/bin/service
USER 65532:65532
EXPOSE 4000 6060
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/service"]
