"""When runs start by themselves: a cron line, and enough new feedback.

APScheduler keeps its two jobs in the record's database (table `apscheduler_jobs`), so that a
nightly run missed while the machine was off is made up for, once. Both only start a run the way
`redraft retrain now` does; that one runs at a time is the record's business.
"""

import logging
import os
import re
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime

from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.orm import Session

from feedback import adapters, reads, runs
from feedback.database import Database, open_database
from feedback.errors import Conflict, RecordError
from feedback.migrate import migrate
from retrain import monitor
from retrain.deploy import DeployError
from retrain.forgetting import prune_all
from retrain.start import Started, environment, listen, resume_run, start_run
from serve.settings import Settings, load_settings

log = logging.getLogger("redraft")

LOOK = 60  # seconds between two looks at the feedback
SET_BACK = 5.0  # seconds; less is the clock being kept right
PRUNE_HOURS = 6
STOP_SECONDS = 10.0
_started: list[Started] = []
_resumed: set[str] = set()
_waited: set[str] = set()  # canaries that a run was told to wait for
_turn = threading.Lock()  # the two jobs may fall on the same second
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")


class ScheduleError(Exception):
    """REDRAFT_SCHEDULE cannot be read."""


def run_scheduler(settings: Settings) -> None:
    """Start runs until SIGTERM or Ctrl-C; a run at work is stopped, and resumed next time."""
    os.environ.update(environment(settings))  # the jobs, kept by name, read their settings anew
    database = open_database(settings.database_url)
    scheduler, asked = BackgroundScheduler(), list[int]()
    for number in (signal.SIGTERM, signal.SIGINT):
        # A handler that took a lock could wait for the very code that it interrupted.
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        migrate(database)
        arrange(scheduler, settings, database)
        scheduler.start()
        log.info("Scheduler: %s, and after %d new events", settings.schedule, settings.min_events)
        offset = wall_offset()
        while not asked:
            time.sleep(0.2)
            before, offset = offset, wall_offset()
            if before - offset > SET_BACK:
                log.info("The clock was set back by %.0f s.", before - offset)
                take_times_anew(scheduler, settings)
        scheduler.shutdown(wait=False)
    finally:
        _stop_children()
        database.close()


def arrange(scheduler: BaseScheduler, settings: Settings, database: Database) -> None:
    """Give the scheduler its store and its jobs. Raises ScheduleError."""
    triggers = _triggers(settings)
    store = SQLAlchemyJobStore(engine=database.bind)
    scheduler.add_jobstore(store)
    store.start(scheduler, "default")  # to see what is there before the scheduler starts
    kept = {job.id: job for job in store.get_all_jobs()}
    for id in kept:
        if id not in triggers:
            store.remove_job(id)
    for id, trigger in triggers.items():
        # A kept job with the same trigger remembers its next time: if that has passed, it is late.
        known = id in kept and str(kept[id].trigger) == str(trigger)
        if not known or _is_beyond(kept[id], trigger):
            scheduler.add_job(
                f"retrain.schedule:{id}",
                trigger,
                id=id,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
                replace_existing=True,
            )


def take_times_anew(scheduler: BaseScheduler, settings: Settings) -> None:
    """After the clock was set back: what would come later than a new job comes when that would."""
    triggers = _triggers(settings)
    for job in scheduler.get_jobs():
        if _is_beyond(job, triggers[job.id]):
            scheduler.reschedule_job(job.id, trigger=triggers[job.id])


def wall_offset() -> float:
    """Seconds from the clock that never goes back to the one on the wall."""
    return time.time() - time.monotonic()


def _triggers(settings: Settings) -> dict[str, BaseTrigger]:
    wanted: dict[str, BaseTrigger] = {"events": IntervalTrigger(seconds=LOOK)}
    if settings.schedule:
        wanted["nightly"] = cron_trigger(settings.schedule)
    if settings.retention_days:
        wanted["retention"] = IntervalTrigger(hours=PRUNE_HOURS)
    return wanted


def _is_beyond(job: Job, trigger: BaseTrigger) -> bool:
    """Whether the job is due later than the same one begun now: the clock went wrong, then right,
    and an interval's job would wait until the wrong time comes."""
    first = trigger.get_next_fire_time(None, datetime.now(UTC))
    return first is not None and job.next_run_time > first


def cron_trigger(line: str) -> CronTrigger:
    """The trigger of a cron line with cron's own weekdays (0 and 7 are Sunday)."""
    fields = line.split()
    if len(fields) == 5:
        # APScheduler 3 counts weekdays from Monday (its issue 286); names mean the same to both.
        fields[4] = re.sub(r"(?<![/\d])[0-7](?!\d)", lambda m: _DAYS[int(m[0])], fields[4])
    try:
        return CronTrigger.from_crontab(" ".join(fields))
    except ValueError as error:
        raise ScheduleError(
            f"REDRAFT_SCHEDULE is {line!r}: {error}. Write minute, hour, day, month and weekday, "
            "such as 0 3 * * * for three o'clock every night, or leave it empty."
        ) from error


def nightly() -> None:
    """The cron job: a run if there is anything new."""
    _look(1)


def events() -> None:
    """The job of every minute: the canary is judged, a run starts if there is enough new feedback,
    and an interrupted one goes on."""
    _look(load_settings().min_events)


def retention() -> None:
    """The job that erases what is older than `REDRAFT_RETENTION_DAYS`."""
    settings = load_settings()
    database = open_database(settings.database_url)
    try:
        if settings.retention_days and (count := prune_all(settings, database)):
            log.info("Erased the texts of %d conversations past retention.", count)
    except RecordError as error:
        log.warning("%s", error)
    finally:
        database.close()


def _look(enough: int) -> None:
    settings = load_settings()
    with _turn:
        database = open_database(settings.database_url)
        try:
            _reap()
            _judge_canary(settings, database)
            if not _resume_once(settings, database) and is_due(database, enough):
                _start(settings, database)
        except Conflict as error:
            log.info("No run now: %s", error)
        except RecordError as error:
            log.warning("%s", error)
        finally:
            database.close()


def _judge_canary(settings: Settings, database: Database) -> None:
    try:
        if done := monitor.judge_canary(settings, database):
            log.info("Canary: %s", done)
    except (Conflict, DeployError) as error:  # somebody was faster, or the server is busy
        log.warning("The canary was left as it is, until the next look: %s", error)


def _start(settings: Settings, database: Database) -> None:
    """Start a run, unless a canary is out: the next adapter is trained on the one that wins."""
    with database.reading() as session:
        canary = adapters.canary(session)
    if canary is None:
        _started.append(start_run(settings, database))
        log.info("Started %s", _started[-1].run_id)
    elif canary.name not in _waited:
        _waited.add(canary.name)
        log.info("A run is due, and waits until canary %s is decided on.", canary.name)


def is_due(database: Database, enough: int) -> bool:
    """Whether `enough` new feedback came since the last run, however that ended."""
    with database.reading() as session:
        return reads.count_new_feedback(session, _seen(session)) >= enough


def _seen(session: Session) -> int:
    last = runs.list_runs(session, 1)
    return last[0].last_feedback_seq if last else 0


def _resume_once(settings: Settings, database: Database) -> bool:
    """Go on with a run whose process died; the second time it is given up, so that others come."""
    listen(database)
    with database.session() as session:
        dead = runs.interrupted(session)
        if dead is None or not dead.active:  # none, or stopped by hand: not ours to go on with
            return False
        if dead.id in _resumed:
            message = f"Its process died twice, at step {dead.step}. See its log in runs/{dead.id}."
            runs.finish_run(session, dead.id, "failed", message)
            return False
    _resumed.add(dead.id)
    started = resume_run(settings, database)
    if started:
        log.info("Resumed %s", started.run_id)
        _started.append(started)
    return started is not None


def _reap() -> None:
    """Collect children that have ended: an uncollected one still looks alive."""
    for started in [s for s in _started if s.process.poll() is not None]:
        _started.remove(started)
        log.info("%s has ended", started.run_id)


def _stop_children() -> None:
    for started in _started:
        if started.process.poll() is None:
            started.process.terminate()
    for started in _started:
        try:
            started.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.process.kill()
            started.process.wait()
    _started.clear()


def _end_with_parent() -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """`python -m retrain.schedule`: under a supervisor, ends when that is gone."""
    form = "%(asctime)s scheduler %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    _end_with_parent()
    run_scheduler(load_settings())


if __name__ == "__main__":
    # As a module by its name: the jobs are kept by that name, and share its state.
    from retrain import schedule

    schedule.main()
