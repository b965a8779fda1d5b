# cir serve in a container: CPU by default, CUDA by one argument.
#
#   docker build -t cir-serve .
#   docker build -t cir-serve --build-arg TORCH_INDEX= .
#   docker run --rm -p 127.0.0.1:7860:7860 -v "$PWD/data:/data:ro" cir-serve \
#       serve --host 0.0.0.0 --store /data/shop.h5
#
# With CUDA, docker run takes --gpus all as well.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS built
# Where torch's wheels come from: those of this index need no GPU; empty, pip's own brings CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/cir
COPY constraints.txt ./
# torch first: it is the largest layer, and changes least.
RUN /opt/cir/bin/pip install --constraint constraints.txt \
        ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY cir ./cir
COPY pipeline ./pipeline
RUN /opt/cir/bin/pip install --constraint constraints.txt '.[serve,milvus]'

FROM python:${PYTHON}-slim
# No version of libgomp1 is pinned: Debian's mirrors hold the release's latest alone, so that a pin
# breaks the build with every update, and the base image's tag fixes the release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 cir
COPY --from=built /opt/cir /opt/cir
ENV PATH=/opt/cir/bin:$PATH PYTHONUNBUFFERED=1
# By number, which whoever runs the image can tell from root without looking into it.
USER 10001
WORKDIR /home/cir
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s CMD ["python", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/api/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cir"]
# Only the container's own network reaches this address: publish the port to let others in.
CMD ["serve", "--host", "0.0.0.0", "--store", "/data/embeddings.h5"]
