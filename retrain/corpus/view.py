"""A corpus on a terminal: a bar for people and plain lines for logs, and rows to look at."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from retrain.corpus import kinds
from retrain.corpus.stage import Row, Tick

QUARTERS = 4
WIDTH = 16  # of the bar, so that what was spent fits on a line of 80


@contextmanager
def following() -> Iterator[Tick]:
    """What a stage tells its progress to: `(what, done, total)`.

    `what` is the stage, and behind a comma what it cost so far, where it asks a teacher.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console) as tick:
            yield tick
    else:
        yield _lines()


@contextmanager
def _bar(console: Console) -> Iterator[Tick]:
    columns = (
        TextColumn("{task.description}"), BarColumn(WIDTH), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[spent]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, spent="")

        def tick(what: str, done: int, total: int | None) -> None:
            stage, _, spent = what.partition(", ")
            progress.update(task, description=stage, completed=done, total=total, spent=spent)

        yield tick


def _lines() -> Tick:
    last = ""

    def tick(what: str, done: int, total: int | None) -> None:
        nonlocal last
        stage = what.partition(",")[0]
        mark = f"{stage} {QUARTERS * done // total if total else 0}"
        if mark != last:
            click.echo(f"{what}: {done}/{total}" if total else what, err=True)
            last = mark

    return tick


def show_row(place: str, row: Row, passage: str) -> None:
    """A row for somebody who is to judge it, with the passage that has to bear it out."""
    click.echo(f"\n{place}: {kinds.of(row).items} from {row['source']} {row['part']}".rstrip())
    if passage:
        click.secho(passage, dim=True)
    for name in kinds.of(row).texts:
        said = row[name]
        told = (
            said
            if isinstance(said, str)
            else "\n".join(f"{m['role']}: {m['content']}" for m in said)
        )
        click.echo(click.style(f"{name}: ", bold=True) + told)


def edited(texts: dict[str, Any]) -> dict[str, Any] | None:
    """The texts as somebody left them in their editor, as JSON; None where nothing changed."""
    before = json.dumps(texts, indent=2, ensure_ascii=False)
    while (after := click.edit(before, extension=".json")) is not None:
        try:
            found = json.loads(after)
        except ValueError as error:
            click.echo(f"That is not JSON: {error}.")
            if not click.confirm("Open it again?", default=True):
                return None
            before = after
            continue
        if not isinstance(found, dict):
            click.echo("That is no object with the texts.")
            return None
        return found if found != texts else None
    return None
