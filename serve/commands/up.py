"""`redraft up`: API, page and scheduler, started, watched and stopped together."""

import logging
import signal
import time

import click
import httpx

from feedback.database import open_database
from feedback.migrate import migrate
from serve import local_vllm
from serve.api.authentication import require_users
from serve.api.server import bind
from serve.engines import resolve
from serve.engines.device import settle_device
from serve.engines.vllm_python import require_vllm_python
from serve.home import prepare_home
from serve.logs import log_to_stderr
from serve.processes import Child, ProcessError, Supervisor
from serve.settings import Settings, load_settings

log = logging.getLogger("redraft")


@click.command()
@click.option("--page/--no-page", default=True, help="Serve the page as well.")
@click.option("--scheduler/--no-scheduler", default=True, help="Start runs on schedule as well.")
def command(page: bool, scheduler: bool) -> None:
    """Start everything and print the address to open. Ctrl-C stops all of it."""
    log_to_stderr("up")
    began = time.monotonic()
    settings = load_settings()
    log_to_stderr("up", settings.log)
    if settings.device == "cpu":
        settle_device("cpu")  # every process that is started here inherits it
    _prepare(settings, page)
    supervisor = Supervisor()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, supervisor.stopping.ask)
    try:
        _start(supervisor, settings, page, scheduler)
        if not supervisor.stopping.asked:
            address = page_url(settings) if page else settings.api_url
            log.info("Ready after %.0f s.", time.monotonic() - began)
            click.echo(f"Redraft is ready: open {address}")
            supervisor.watch()
    finally:
        supervisor.stop()
    log.info("Stopped.")


def page_url(settings: Settings) -> str:
    return settings.api_url.rpartition(":")[0] + f":{settings.page_port}"


def _prepare(settings: Settings, page: bool) -> None:
    """Everything that can be refused is refused before the first process starts."""
    prepare_home(settings.home)
    for port, variable in _ports(settings, page):
        bind(settings.host, port, variable).close()
    if _runs_vllm(settings):
        require_vllm_python(settings.vllm_python)
        bind("127.0.0.1", settings.vllm_port, "REDRAFT_VLLM_PORT").close()
    database = open_database(settings.database_url)
    try:
        migrate(database)
        require_users(settings, database)
    finally:
        database.close()


def _ports(settings: Settings, page: bool) -> list[tuple[int, str]]:
    ports = [(settings.port, "REDRAFT_PORT")]
    return [*ports, (settings.page_port, "REDRAFT_PAGE_PORT")] if page else ports


def _runs_vllm(settings: Settings) -> bool:
    engine = resolve(settings.engine, settings.quantization)
    return engine == "vllm" and not settings.engine_url


def _start(supervisor: Supervisor, settings: Settings, page: bool, scheduler: bool) -> None:
    if _runs_vllm(settings):
        vllm = supervisor.add("vLLM", "serve.local_vllm")
        _await(supervisor, vllm, local_vllm.health_url(settings))
    api = supervisor.add("API", "serve.api")
    shown = _start_page(supervisor, settings) if page else None
    _await(supervisor, api, f"{settings.api_url}/readyz")
    if shown is not None:
        _await(supervisor, shown, page_url(settings))
    if scheduler and not supervisor.stopping.asked:
        supervisor.add("scheduler", "retrain.schedule")


def _start_page(supervisor: Supervisor, settings: Settings) -> Child:
    return supervisor.add(
        "page", "serve.page", "--api", settings.api_url,
        "--host", settings.host, "--port", str(settings.page_port),
        "--offer-drafts", str(settings.offer_drafts), f"--examples={settings.examples}",
    )  # fmt: skip


def _await(supervisor: Supervisor, child: Child, url: str) -> None:
    def answers() -> bool:
        try:
            return httpx.get(url, timeout=5, trust_env=False, follow_redirects=True).is_success
        except httpx.HTTPError:
            return False

    if not supervisor.wait_until(answers, child) and not supervisor.stopping.asked:
        raise ProcessError(f"The {child.name} did not start; its last lines above say why.")
