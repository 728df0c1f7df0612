"""`redraft user forget` and `redraft db prune`: texts out of the record and of what runs wrote.

Snapshots and the steps of runs hold copies of rows, one a line; lines of what was erased are taken
out and the folder is sealed again. Adapters stay as they are: they are listed, to be retired or
trained anew.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from feedback import erasure, runs
from feedback.database import Database, open_database
from feedback.migrate import check
from retrain.manifest import MANIFEST, read_json, read_rows, seal, write_rows
from retrain.work import REPORT
from serve.settings import Settings, load_settings

HOLDING = ("snapshots/*/*.jsonl", "runs/*/curate/*.jsonl", "runs/*/recipe/*.jsonl")


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(name: str, yes: bool) -> None:
    """Erase all that a user wrote and list the adapters trained on them. There is no way back.

    Texts, drafts, comments and titles go, also from the files of runs; counts stay. The user is
    signed out, all keys are revoked, and no later snapshot has anything of theirs.
    """
    settings = load_settings()
    database = open_database(settings.database_url)
    try:
        check(database)
        if not yes:
            click.confirm(f"Erase all that {name} wrote, for good?", abort=True)
        done = erasure.forget_user(database, name)
        lines = erase_files(settings, database)
        with database.reading() as session:
            active = next((run.id for run in runs.list_runs(session) if run.active), None)
    finally:
        database.close()
    for told in _story(name, done, lines, active):
        click.echo(told)


@click.command()
@click.option("--days", type=click.FloatRange(0, min_open=True), help="REDRAFT_RETENTION_DAYS.")
def prune(days: float | None) -> None:
    """Erase the texts of conversations that nobody used for REDRAFT_RETENTION_DAYS."""
    settings = load_settings()
    if days is not None:
        settings = settings.model_copy(update={"retention_days": days})
    if not settings.retention_days:
        click.echo("Nothing is erased: REDRAFT_RETENTION_DAYS is 0. Set it, or give --days.")
        return
    database = open_database(settings.database_url)
    try:
        check(database)
        count = prune_all(settings, database)
    finally:
        database.close()
    click.echo(
        f"Erased the texts of {count} conversations unused for {settings.retention_days:g} d."
    )


def prune_all(settings: Settings, database: Database) -> int:
    """Erase what is past retention, in the record and in files; gives how many conversations."""
    count = erasure.prune(database, settings.retention_days)
    erase_files(settings, database)
    return count


def erase_files(settings: Settings, database: Database) -> int:
    """Take the rows of what was erased out of all files of runs; gives how many lines went."""
    return sum(
        _erase_lines(path, database)
        for pattern in HOLDING
        for path in sorted(settings.home.glob(pattern))
    )


def _erase_lines(path: Path, database: Database) -> int:
    rows = read_rows(path)
    with database.reading() as session:
        gone = erasure.erased_among(session, [id for row in rows if (id := _about(row))])
    kept = [row for row in rows if _about(row) not in gone]
    if len(kept) == len(rows):
        return 0
    erased = len(rows) - len(kept)
    write_rows(path, kept)
    _seal_again(path.parent, erased)
    page = path.parent.parent / "gate" / REPORT  # it quotes texts; its numbers stay beside it
    if page.is_file():
        page.unlink()
        _seal_again(page.parent, erased)
    return erased


def _seal_again(folder: Path, erased: int) -> None:
    manifest = folder / MANIFEST
    if manifest.is_file():
        facts = {key: value for key, value in read_json(manifest).items() if key != "files"}
        seal(folder, facts | {"erased": facts.get("erased", 0) + erased})


def _about(row: dict[str, Any]) -> str | None:
    """The feedback that a line comes of: a row, one in quarantine, or an example."""
    id: str | None = row.get("row", row).get("feedback_id")
    return id


def _story(name: str, done: erasure.Forgotten, lines: int, active: str | None) -> Iterator[str]:
    yield (
        f"{name} is forgotten: the texts of {done.conversations} conversations, {done.turns} turns "
        f"and {done.feedback} rows of feedback are erased, {done.keys} keys revoked, {lines} lines "
        f"taken out of files of runs. The counts stay under the name {done.name}."
    )
    yield from _trained(done.adapters)
    if active:
        yield (
            f"{active} is under way and may have read them before: `redraft user forget "
            f"{done.name}` tells when it has ended."
        )


def _trained(adapters: Sequence[str]) -> Iterator[str]:
    if not adapters:
        yield "No adapter had any of it in its snapshot."
        return
    yield "Adapters whose snapshots had some of it, or that were built on such a one:"
    yield from (f"  {adapter}" for adapter in adapters)
