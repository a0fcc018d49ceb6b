# The server and the command as an image; docs/image.md tells how to build and run it.
# Any base with Python 3.11 or later and its venv module does, a bare Debian included.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY LICENSE NOTICE README.md pyproject.toml ./
COPY client client
COPY server server
# pip stays in an environment of its own, which is not copied. Who needs a configuration for it, or
# certificates, lends them as secrets.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/reelsplit \
    && /opt/pip/bin/pip --python /opt/reelsplit/bin/python install --no-cache-dir '.[server]'


FROM ${BASE}
# /data is open to every user, as /tmp is, so that a new volume serves whoever --user names.
RUN groupadd --gid 10001 reelsplit \
    && useradd --no-log-init --uid 10001 --gid 10001 --home-dir /data --no-create-home \
        --shell /usr/sbin/nologin reelsplit \
    && install -d -m 1777 /data
COPY LICENSE NOTICE /usr/share/doc/reelsplit/
COPY --from=build /opt/reelsplit /opt/reelsplit

# Listening beyond loopback, the server refuses to start without TLS and tokens, or the explicit
# REELSPLIT_ALLOW_INSECURE_LISTEN=true, which this image does not set.
ENV PATH=/opt/reelsplit/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data \
    XDG_CACHE_HOME=/data/cache \
    XDG_CONFIG_HOME=/data/config \
    XDG_DATA_HOME=/data \
    REELSPLIT_LISTEN=0.0.0.0:50051 \
    REELSPLIT_ROOT='["/media"]'
# Where /tmp cannot be written, Python takes the working folder for temporary files.
WORKDIR /data
VOLUME ["/data"]
USER 10001:10001
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["python", "-m", "reelsplit_server.health"]
ENTRYPOINT ["reelsplit"]
CMD ["serve"]

# Last, so that a new revision changes no layer.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Reelsplit" \
    org.opencontainers.image.description="Splits long videos into segments, as a gRPC service" \
    org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later AND LGPL-3.0-or-later" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
