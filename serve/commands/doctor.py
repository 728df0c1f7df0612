"""`redraft doctor`: what is missing on this machine, in one page."""

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Callable

import click

from feedback.database import open_database
from feedback.errors import RecordError
from feedback.migrate import check
from serve.api.server import bind
from serve.engines import builtin, resolve
from serve.engines.base import EngineError
from serve.engines.device import settle_device
from serve.engines.vllm_python import require_vllm_python
from serve.home import prepare_home
from serve.processes import ProcessError
from serve.settings import Settings, load_settings

GB = 1e9


@click.command()
def command() -> None:
    """Check settings, folders, database, ports, engine and model; exit code 1 when one is amiss."""
    settings = load_settings()
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("python", _python), ("home", _home), ("database", _database), ("engine", _engine),
        ("model", _model), ("API port", _api_port), ("page port", _page_port),
    ]  # fmt: skip
    failed = 0
    for name, run in checks:
        try:
            click.echo(f"ok    {name:<10} {run(settings)}")
        except (ProcessError, RecordError, EngineError) as error:
            failed += 1
            click.echo(f"amiss {name:<10} {error}")
    sys.exit(1 if failed else 0)


def _python(settings: Settings) -> str:
    version = importlib.metadata.version("torch")
    return f"{platform.python_version()} on {platform.machine()}, torch {version}"


def _home(settings: Settings) -> str:
    home = prepare_home(settings.home)
    return f"{home}, {shutil.disk_usage(home).free / GB:.0f} GB free"


def _database(settings: Settings) -> str:
    database = open_database(settings.database_url)
    check(database)
    return database.url


def _engine(settings: Settings) -> str:
    settle_device(settings.device)
    name = resolve(settings.engine, settings.quantization)
    if settings.engine_url:
        return f"{name} at {settings.engine_url}"
    if name == "vllm":
        return f"vllm, started by {require_vllm_python(settings.vllm_python)}"
    return name


def _model(settings: Settings) -> str:
    if settings.model != builtin.NAME or settings.engine_url:
        return settings.model
    done = (settings.home / "models" / builtin.NAME / builtin.DONE).exists()
    return settings.model + ("" if done else ", converted at the first start (about 20 s)")


def _api_port(settings: Settings) -> str:
    bind(settings.host, settings.port, "REDRAFT_PORT").close()
    return str(settings.port)


def _page_port(settings: Settings) -> str:
    bind(settings.host, settings.page_port, "REDRAFT_PAGE_PORT").close()
    return str(settings.page_port)
