"""One run, from snapshot to deploy: `python -m retrain.loop RUN_ID`, a process of its own.

A step whose manifest is whole is skipped, any other starts anew, so a run that was killed goes on
where it was. A step whose database goes away starts anew when that is back. Whatever else goes
wrong ends the run as failed, with the traceback in its log.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from feedback import runs
from feedback.database import Database, open_database
from feedback.errors import Conflict, DatabaseUnavailable, RecordError
from retrain import steps
from retrain.manifest import seal, sealed, start_over
from retrain.patience import patiently
from retrain.progress import LostRun, Tracker
from retrain.refusal import Refusal
from retrain.work import Work, run_folder
from serve.settings import Settings, load_settings

log = logging.getLogger("redraft")

PATIENT = 10  # how much the run gives way to serving (`nice`)
AUTOGROUP = Path("/proc/self/autogroup")


def run(settings: Settings, run_id: str) -> str:
    """Execute the run's unfinished steps; gives the state it ended in. Raises LostRun."""
    database = open_database(settings.database_url)
    try:
        state, message, adapter = _executed(settings, database, run_id)
        patiently(lambda: _finish(database, run_id, state, message, adapter))
        log.info("%s: %s", state, message)
        return state
    finally:
        database.close()


def _finish(database: Database, run_id: str, state: str, message: str, adapter: str | None) -> None:
    """End the run. Raises LostRun where it is no longer ours: it may be at work elsewhere."""
    try:
        with database.session() as session:
            runs.hold_run(session, run_id)
            runs.finish_run(session, run_id, state, message, adapter)
    except Conflict as error:
        raise LostRun(str(error)) from error


def _executed(settings: Settings, database: Database, run_id: str) -> tuple[str, str, str | None]:
    """(state, message, adapter) that the run ends with."""
    try:
        with database.reading() as session:
            recipe = runs.get_run(session, run_id).recipe
        with Tracker(database, run_id) as tracker:
            work = Work(settings, database, run_id, recipe, tracker)
            done = _steps(work)
        return done["state"], done["message"], work.done("train")["adapter"]
    except (LostRun, DatabaseUnavailable):
        raise  # the run stays interrupted: `redraft retrain resume` goes on with it
    except Refusal as refusal:
        return "refused", f"Refused to train. {refusal}", None
    except Exception as error:
        log.exception("The run failed.")
        where = run_folder(settings, run_id) / "log.txt"
        return "failed", f"{type(error).__name__}: {error} The whole story is in {where}.", None


def _steps(work: Work) -> dict[str, Any]:
    """Do what is not done; gives the manifest of the last step."""
    done = sealed(work.snapshot)
    if done is None:
        work.tracker.step("snapshot")
        done = patiently(lambda: steps.snapshot(work))
    for name, step in steps.STEPS.items():
        folder = work.folder / name
        done = sealed(folder)
        if done is None:
            work.tracker.step(name)
            done = seal(folder, _facts(work, step, folder))
    return done


def _facts(work: Work, step: steps.Step, folder: Path) -> dict[str, Any]:
    return patiently(lambda: step(work, start_over(folder)))


def give_way() -> None:
    """Let everything else on this machine go first, serving above all."""
    if hasattr(os, "nice"):
        os.nice(PATIENT)
    # Linux shares the processor among sessions first, and a run is a session of its own: there its
    # niceness counts for nothing unless the session has it too (sched(7), autogroup). Started by
    # hand, its session is the terminal's, with all else that somebody works on there.
    if not hasattr(os, "getsid") or os.getsid(0) != os.getpid():
        return
    try:
        AUTOGROUP.write_text(str(PATIENT))
    except OSError as error:
        # No such file: not Linux, or built without. EINVAL: in a session without a group of its own
        # the niceness above counts. EPERM, EAGAIN, EROFS: not ours to set. The run goes on.
        log.info("%s was left as it is: %s", AUTOGROUP, error.strerror)


def main() -> None:
    """The child process: settings from the environment, log on standard error, low priority."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    give_way()
    try:
        run(load_settings(), sys.argv[1])
    except (LostRun, RecordError) as error:
        log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
