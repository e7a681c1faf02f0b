# SPDX-License-Identifier: GPL-3.0-or-later
# docker build --tag matrix-sip .
# The first stage makes wheels of everything, pjsua2 among them; the second only installs them.

FROM debian:bookworm-slim AS build

RUN apt-get update && apt-get install --yes --no-install-recommends \
        build-essential \
        ca-certificates \
        libgsm1-dev \
        libopus-dev \
        libsamplerate0-dev \
        libspeex-dev \
        libspeexdsp-dev \
        libssl-dev \
        pkg-config \
        python3 \
        python3-dev \
        python3-venv \
        swig \
        uuid-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

COPY requirements/build.txt requirements/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-compile --require-hashes \
        -r requirements/build.txt

COPY requirements/runtime.txt requirements/
RUN /opt/build/bin/pip wheel --no-cache-dir --require-hashes --no-build-isolation \
        --wheel-dir /wheels -r requirements/runtime.txt

COPY scripts scripts
RUN PYTHON=/opt/build/bin/python scripts/build-pjsua2 --copy-to /wheels

COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python3 -m venv --without-pip /opt/matrix-sip \
    && /opt/build/bin/pip --python /opt/matrix-sip/bin/python install \
        --no-index --no-deps --no-compile /wheels/*.whl \
    && /opt/matrix-sip/bin/python -m compileall -q \
        -x '/(tests?|SelfTest|geodata|carrierdata|tzdata|lexers)/' /opt/matrix-sip/lib


FROM debian:bookworm-slim

RUN apt-get update && apt-get install --yes --no-install-recommends \
        ca-certificates \
        libgsm1 \
        libopus0 \
        libsamplerate0 \
        libspeex1 \
        libspeexdsp1 \
        libssl3 \
        libuuid1 \
        python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin \
        matrix-sip \
    && install --directory --owner=matrix-sip --group=matrix-sip --mode=0750 /data

COPY --from=build /opt/matrix-sip /opt/matrix-sip
ENV PATH=/opt/matrix-sip/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1

USER matrix-sip
WORKDIR /data
VOLUME /data

# Asks the admin listener of the bridge in this container; without a homeserver it is not healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["matrix-sip", "health", "--config", "/data/config.yaml"]

ENTRYPOINT ["matrix-sip"]
CMD ["run", "--config", "/data/config.yaml"]
