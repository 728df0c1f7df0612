"""Following a stage from a terminal: a bar for people, plain lines for logs."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from retrain.corpus.stage import Tick

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
