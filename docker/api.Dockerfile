# The API: every request, the record, and the words that go to the engine. vLLM holds the weights,
# so the CPU build of torch is enough here.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HF_HUB_DISABLE_TELEMETRY=1 REDRAFT_HOME=/data HF_HOME=/models
WORKDIR /redraft
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY prompts prompts
COPY feedback feedback
COPY serve serve
COPY retrain retrain
RUN pip install --constraint constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu '.[postgresql]' \
    && useradd --create-home --uid 1000 redraft \
    && mkdir /data /models && chown redraft:redraft /data /models

USER 1000
WORKDIR /home/redraft
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8000/healthz').raise_for_status()"]
CMD ["redraft", "up", "--no-page", "--no-scheduler"]
