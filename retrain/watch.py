"""Following a run from a terminal: a bar for people, plain lines for logs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from feedback import runs
from feedback.database import Database
from feedback.moments import iso
from feedback.tables import Run
from retrain.start import Started, settle_dead

LOOK = 0.3  # seconds


class View(Protocol):
    """Shows where a run is."""

    def __call__(self, run: Run) -> None: ...


def follow(database: Database, started: Started, quiet: bool = False) -> Run:
    """Show the run until it ends; gives it as it ended."""
    with _view(quiet) as show:
        while started.process.poll() is None:
            show(_get(database, started.run_id))
            time.sleep(LOOK)
    settle_dead(database, started)
    return _get(database, started.run_id)


def stop(database: Database, started: Started) -> None:
    """Stop a run by hand: it is interrupted and waits for `redraft retrain resume`."""
    started.process.terminate()
    started.process.wait()
    with database.session() as session:
        if runs.get_run(session, started.run_id).active:
            runs.finish_run(session, started.run_id, "interrupted", "Stopped by hand.")


def where(run: Run) -> str:
    """The place of a run in words, such as "train 12/30 (40 %), 25 s left, loss 1.2"."""
    found, parts = run.progress or {}, [run.step or "starting"]
    if "part" in found:
        parts[0] += f", {found['part']},"
    if found.get("total"):
        parts[0] += f" {found['step']}/{found['total']} ({found.get('percent', 0):.0f} %)"
    if "eta_s" in found:
        parts.append(f"{found['eta_s']} s left")
    if "loss" in found:
        parts.append(f"loss {found['loss']}")
    return ", ".join(parts)


def describe(run: Run) -> dict[str, Any]:
    """The run as JSON shows it."""
    names = ("id", "state", "step", "progress", "message", "adapter")
    return {
        **{name: getattr(run, name) for name in names},
        "created_at": iso(run.created_at),
        "finished_at": iso(run.finished_at) if run.finished_at else None,
    }


@contextmanager
def _view(quiet: bool) -> Iterator[View]:
    console = Console(stderr=True)
    if quiet:
        yield lambda run: None
    elif console.is_terminal:
        with _bar(console) as show:
            yield show
    else:
        yield _lines()


@contextmanager
def _bar(console: Console) -> Iterator[View]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def show(run: Run) -> None:
            found = run.progress or {}
            total, step = found.get("total") or None, found.get("step", 0)
            progress.update(task, description=where(run), total=total, completed=step)

        yield show


def _lines() -> View:
    last = ""

    def show(run: Run) -> None:
        nonlocal last
        found = run.progress or {}
        mark = f"{run.step} {int(found.get('percent', 0)) // 25}"
        if run.step and mark != last:
            click.echo(f"{run.id}: {where(run)}", err=True)
            last = mark

    return show


def _get(database: Database, run_id: str) -> Run:
    with database.reading() as session:
        return runs.get_run(session, run_id)
