# The page: Gradio and a client of the API. It has no tables, no engine and no torch.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    GRADIO_ANALYTICS_ENABLED=False HF_HUB_DISABLE_TELEMETRY=1
WORKDIR /redraft
COPY constraints.txt ./
RUN pip install --constraint constraints.txt gradio httpx jinja2 markdown-it-py pygments \
        latex2mathml mdit-py-plugins \
    && useradd --create-home --uid 1000 redraft
COPY serve/__init__.py serve/
COPY serve/page serve/page

USER 1000
EXPOSE 7860
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s \
    CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:7860/login')"]
CMD ["python", "-m", "serve.page", "--api", "http://api:8000", "--host", "0.0.0.0"]
