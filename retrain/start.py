"""Starting a run, or going on with one: the one way in for the command and the schedule."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback import runs
from feedback.database import Database
from feedback.errors import Conflict
from retrain.progress import EVERY
from retrain.work import run_folder
from serve.settings import Settings

TAKEOVER = 60.0  # seconds for the child to report
LISTEN = 3 * EVERY


@dataclass(frozen=True)
class Started:
    """A run at work in a process of its own."""

    run_id: str
    process: subprocess.Popen[bytes]
    log: Path


def start_run(
    settings: Settings, database: Database, recipe: Mapping[str, Any] | None = None
) -> Started:
    """Claim the one slot and start the run; raises feedback.errors.Conflict while another runs.

    `recipe` is the content of a recipe file; without one the run decides by what feedback there is.
    """
    with database.session() as session:
        run_id = runs.claim_run(session, recipe or {}).id
    return _spawn(settings, database, run_id)


def resume_run(settings: Settings, database: Database) -> Started | None:
    """Go on with the interrupted run; None when there is none."""
    listen(database)
    with database.session() as session:
        found = runs.interrupted(session)
        if found is None:
            return None
        run_id = runs.resume_run(session, found.id).id
    return _spawn(settings, database, run_id)


def listen(database: Database) -> None:
    """Give a run that was not heard of a few beats' time to be heard before it is believed dead.

    When the clock was set forward, or the machine slept, every run seems to have long been silent.
    """
    with database.reading() as session:
        found = runs.interrupted(session)
    if found is not None and found.active and runs.may_exist(found):
        time.sleep(LISTEN)


def environment(settings: Settings) -> dict[str, str]:
    """The variables with which a child process has exactly these settings."""
    return {f"REDRAFT_{name.upper()}": str(value) for name, value in settings}


def settle_dead(database: Database, started: Started) -> None:
    """Mark a run whose process has ended without ending it as interrupted."""
    code = started.process.poll()
    if code is None:
        return
    with database.session() as session:
        run = runs.get_run(session, started.run_id)
        if run.active and run.pid in (started.process.pid, os.getpid()):
            why = f"signal {-code}" if code < 0 else f"exit code {code}"
            message = (
                f"Its process ended by {why} at step {run.step or 'start'}. See {started.log}."
            )
            runs.finish_run(session, started.run_id, "interrupted", message)


def _spawn(settings: Settings, database: Database, run_id: str) -> Started:
    folder = run_folder(settings, run_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "retrain.loop", run_id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | environment(settings) | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # a Ctrl-C at the terminal is the starter's to handle
            )
    except OSError as error:
        with database.session() as session:
            runs.finish_run(session, run_id, "failed", f"The run could not start: {error}.")
        raise Conflict(
            f"The run {run_id} could not start: {error}. Free space or rights?"
        ) from error
    return Started(run_id, process, folder / "log.txt")


def await_takeover(database: Database, started: Started) -> None:
    """Wait until the child owns the run: before that, our own end would look like the run's."""
    deadline = time.monotonic() + TAKEOVER
    while started.process.poll() is None and time.monotonic() < deadline:
        with database.reading() as session:
            if runs.get_run(session, started.run_id).pid == started.process.pid:
                return
        time.sleep(0.05)
