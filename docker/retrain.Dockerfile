# The learning loop: scheduler, training and the gate. torch with CUDA: a run wants a GPU of its own.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HF_HUB_DISABLE_TELEMETRY=1 REDRAFT_HOME=/data HF_HOME=/models
WORKDIR /redraft
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY prompts prompts
COPY feedback feedback
COPY serve serve
COPY retrain retrain
RUN pip install --constraint constraints.txt '.[postgresql]' \
    && useradd --create-home --uid 1000 redraft \
    && mkdir /data /models && chown redraft:redraft /data /models

USER 1000
WORKDIR /home/redraft
CMD ["redraft", "retrain", "schedule"]
