"""`redraft retrain evaluate`: adapters on files of questions with known answers."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from feedback import adapters
from feedback.database import open_database
from feedback.errors import DatabaseBehind
from feedback.migrate import check
from serve.settings import Settings, load_settings

BASE = "base"


@click.command("evaluate")
@click.argument("file", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--adapter",
    multiple=True,
    help="Adapter to ask, or `base`; may be repeated. The base model and the champion when not "
    "given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON an adapter and file.")
def command(file: tuple[Path, ...], adapter: tuple[str, ...], as_json: bool) -> None:
    """How many questions adapters answer right, of FILE or of the general ones that ship.

    A row of a file is {question, choices, answer: index} or {question, accept: [pattern]}. Won and
    lost are those that an adapter alone gets right, and those that only the first one does.
    """
    from retrain.evaluate import suites
    from retrain.work import engine_with

    settings = load_settings()
    asked = {path: suites.read_suite(path) for path in file or suites.shipped()}
    names = list(adapter) or _serving(settings)
    _check(settings, names)
    with engine_with(settings, set(names) - {BASE}) as engine:
        for path, rows in asked.items():
            first: list[bool] = []
            for name in names:
                right = suites.answered(engine, rows, None if name == BASE else name)
                first = first or right
                _tell(path, name, right, first, as_json)


def _tell(
    path: Path, name: str, right: Sequence[bool], first: Sequence[bool], as_json: bool
) -> None:
    """How many are right, and which of them only here or only with the adapter asked first."""
    from retrain.evaluate.suites import won_and_lost

    share = sum(right) / len(right)
    won, lost = won_and_lost(right, first)
    if as_json:
        numbers = {"right": sum(right), "rows": len(right), "share": round(share, 4)}
        told = {"file": path.name, "adapter": name, **numbers, "won": won, "lost": lost}
        click.echo(json.dumps(told))
        return
    beside = "" if right is first else f"; {won} won, {lost} lost"
    click.echo(f"{path.stem}: {name} {sum(right)} of {len(right)} right ({share:.0%}){beside}")


def _serving(settings: Settings) -> list[str]:
    """The base, and what serves on top of it: nothing does where there is no record yet."""
    database = open_database(settings.database_url)
    try:
        check(database)
        with database.reading() as session:
            found = adapters.champion(session)
    except DatabaseBehind as behind:
        if behind.found is not None:
            raise
        return [BASE]
    finally:
        database.close()
    return [BASE, found.name] if found and found.base_model == settings.model else [BASE]


def _check(settings: Settings, names: Sequence[str]) -> None:
    for name in set(names) - {BASE}:
        folder = settings.home / "adapters" / name
        if not folder.is_dir():
            raise click.ClickException(
                f"There is no adapter {name} in {folder.parent}. `redraft adapters list` shows "
                "those there are."
            )
