# migrate, and the migrations of one database: for init containers.
#
#   docker build -f images/migration.Dockerfile --build-arg MIGRATIONS=Sources/Services/Users/Migrations \
#     -t devpies/mic-db-users-migration:v000004 .
#   docker run --read-only devpies/mic-db-users-migration:v000004 -path /migrations -database "$DB_URL" up
FROM swift:6.3-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y liblz4-dev libpq-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN make release PRODUCTS=migrate

FROM debian:bookworm-slim
ARG MIGRATIONS
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y ca-certificates libpq5 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/.build/dist/migrate /usr/local/bin/migrate
COPY ${MIGRATIONS}/*.sql /migrations/
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/migrate"]
