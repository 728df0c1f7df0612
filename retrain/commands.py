"""`redraft retrain`: one run now, the schedule, what runs and ran, going on after a crash."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from feedback import runs
from feedback.database import Database, open_database
from feedback.errors import Conflict
from feedback.migrate import migrate
from feedback.tables import Run
from retrain import recipe as recipes, rewriter, suite_commands
from retrain.corpus import rows as corpora
from retrain.rows import CORPUS
from retrain.start import Started, await_takeover, resume_run, start_run
from retrain.watch import describe, follow, stop, where
from retrain.work import Unusable, quarantine, report_page
from serve.settings import Settings, load_settings

EXIT = {"promoted": 0, "rejected": 3, "refused": 4}  # anything else: 1


@click.group()
def group() -> None:
    """Learn from feedback: a run freezes it, trains an adapter, judges it, deploys it if better.

    Runs need no server; a running one keeps answering and takes a promoted adapter over.
    """


@group.command()
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file that says what to train, instead of what the feedback suggests; `corpus`: "
    "what the corpus in REDRAFT_HOME suggests.",
)
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of a corpus that `redraft corpus write` is done with: train on it as well, and "
    "judge by its held-out questions.",
)
@click.option("--wait/--no-wait", default=True, help="Follow the run (default), or leave it alone.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as one line of JSON.")
def now(recipe: Path | None, corpus: Path | None, wait: bool, as_json: bool) -> None:
    """Start one run.

    Exit code 0: promoted, as canary where REDRAFT_CANARY_SHARE is set (with --no-wait: started),
    3: rejected by the gate, 4: refused, as there is too little feedback, 1: failed. Ctrl-C stops
    the run; `redraft retrain resume` goes on with it. With --no-wait the run's id is printed and
    the run goes on by itself.
    """
    with _open() as (settings, database):
        content = _content(recipe, corpus, settings)
        _refuse_beside_interrupted(database)
        with _held_back() as interrupts:
            started = start_run(settings, database, content)
        _attend(database, started, wait, as_json, interrupts)


@group.command()
@click.option("--wait/--no-wait", default=True, help="Follow the run (default), or leave it alone.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as one line of JSON.")
def resume(wait: bool, as_json: bool) -> None:
    """Go on with a run that was stopped, at the step it was in."""
    with _open() as (settings, database):
        with _held_back() as interrupts:
            started = resume_run(settings, database)
        if started is None:
            click.echo("No run was interrupted; there is nothing to resume.", err=True)
            return
        _attend(database, started, wait, as_json, interrupts)


@group.command()
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON a run.")
@click.option("--limit", default=10, show_default=True, help="How many runs.")
def status(as_json: bool, limit: int) -> None:
    """What runs and ran, the newest first."""
    with _open() as (settings, database), database.reading() as session:
        found = list(runs.list_runs(session, limit))
        dead = runs.interrupted(session)
    for run in found:
        if dead is not None and run.id == dead.id:
            run.state = "interrupted"
        file, held = quarantine(settings, run.id)
        told = describe(run) | {"quarantine": held}
        click.echo(json.dumps(told, ensure_ascii=False) if as_json else _line(run))
        if held and not as_json:
            reasons = ", ".join(f"{n} {reason}" for reason, n in held.items())
            click.echo(f"        In quarantine {sum(held.values())} rows ({reasons}): {file}")
    if not found and not as_json:
        click.echo("No run yet. Start one with `redraft retrain now`.")


@group.command()
@click.argument("run", required=False)
@click.option("--open", "show", is_flag=True, help="Open it in the browser as well.")
def report(run: str | None, show: bool) -> None:
    """Print where the report of a run is; without RUN, the newest one that was judged."""
    with _open() as (settings, database), database.reading() as session:
        found = [runs.get_run(session, run)] if run else list(runs.list_runs(session))
    pages = [page for one in found if (page := report_page(settings, one.id)).exists()]
    if not pages:
        raise Unusable(_no_report(found[0]) if run else "No run was judged yet.")
    click.echo(pages[0])
    if show:
        click.launch(pages[0].as_uri())


def _content(recipe: Path | None, corpus: Path | None, settings: Settings) -> dict[str, Any]:
    """What a run is told to do. Raises RecipeError, CorpusError."""
    by_name = recipe is not None and str(recipe) == CORPUS and not recipe.is_file()
    content = recipes.read_recipe(recipe) if recipe and not by_name else {}
    folder = corpus or content.get(CORPUS) or (settings.home / CORPUS if by_name else None)
    return content | {CORPUS: corpora.look(Path(folder))} if folder else content


def _no_report(run: Run) -> str:
    return f"Run {run.id} has no report, it was not judged. It is {run.state}: {run.message}"


@group.command()
def schedule() -> None:
    """Run the scheduler alone: the cron line, and a run after enough new feedback."""
    from retrain.schedule import run_scheduler

    run_scheduler(load_settings())


group.add_command(rewriter.command)
group.add_command(suite_commands.command)


@contextmanager
def _open() -> Iterator[tuple[Settings, Database]]:
    settings = load_settings()
    _make(settings.home)
    database = open_database(settings.database_url)
    try:
        migrate(database)
        yield settings, database
    finally:
        database.close()


def _make(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(
            f"REDRAFT_HOME {home} cannot be made: {error.strerror}. Set it to another folder."
        ) from error


def _refuse_beside_interrupted(database: Database) -> None:
    with database.reading() as session:
        found = runs.interrupted(session)
    if found is not None:
        raise Conflict(
            f"Run {found.id} was interrupted at step {found.step or 'start'}. "
            "Go on with `redraft retrain resume`."
        )


@contextmanager
def _held_back() -> Iterator[list[int]]:
    """Note a Ctrl-C instead of breaking off: a run that is claimed has to be attended."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _attend(
    database: Database, started: Started, wait: bool, as_json: bool, interrupts: list[int]
) -> None:
    if not wait:
        await_takeover(database, started)
        with database.reading() as session:
            run = runs.get_run(session, started.run_id)
        click.echo(json.dumps(describe(run)) if as_json else run.id)
        return
    try:
        if interrupts:
            raise KeyboardInterrupt
        run = follow(database, started, quiet=as_json)
    except KeyboardInterrupt:
        stop(database, started)
        click.echo(f"Stopped {started.run_id}. Go on with `redraft retrain resume`.", err=True)
        raise SystemExit(130) from None
    click.echo(json.dumps(describe(run), ensure_ascii=False) if as_json else _line(run))
    raise SystemExit(EXIT.get(run.state, 1))


def _line(run: Run) -> str:
    when = run.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    said = where(run) if run.state == "running" else run.message
    if run.state == "interrupted":
        said = f"at step {run.step or 'start'}; `redraft retrain resume` goes on. {run.message}"
    return f"{run.id}  {when}  {run.state}: {said}"
