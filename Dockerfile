# The image of Sidegate: docs/decisions/0014-the-image.md.
#   docker build -t sidegate --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .

FROM node:24-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts ./scripts
COPY src ./src
RUN npm run build
# What V8 makes of it, for the user below: a start reads that and compiles next to nothing.
RUN node scripts/compile-cache.mjs 65532
# And the list of what is in it.
RUN node scripts/sbom.mjs > sbom.cdx.json

FROM node:24-slim
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Sidegate" \
      org.opencontainers.image.description="A backend-for-frontend gateway: the confidential OAuth client in front of a single-page app and its APIs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="docker.io/library/node:24-slim"
# Nothing at run time installs anything.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn-*
WORKDIR /app
COPY --from=build /src/package.json ./
COPY --from=build /src/dist ./dist
COPY config/schema.json ./config/
COPY LICENSE CHANGELOG.md ./
COPY deploy/healthcheck.mjs ./
COPY --from=build /src/sbom.cdx.json ./
# The allocator gives back what a start or a burst has freed; by default it keeps it (docs/performance.md).
ENV NODE_ENV=production \
    SIDEGATE_CONFIG=/etc/sidegate/sidegate.yaml \
    MALLOC_ARENA_MAX=2 \
    MALLOC_TRIM_THRESHOLD_=1048576
# A number, since Kubernetes' runAsNonRoot cannot look a name up. The files stay root's: the process cannot change them.
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["node", "/app/healthcheck.mjs"]
# Exec form: the process is PID 1 and handles its signals itself.
ENTRYPOINT ["node", "/app/dist/main.js"]
