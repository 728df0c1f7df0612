"""The schedule where things go wrong: clocks that change, and two schedulers on one database."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from conftest import ROOT, wait_until
from retrain_rows import record_corrections

from feedback import runs
from feedback.database import Database
from feedback.tables import Run
from retrain import schedule, start
from retrain.start import environment
from serve.settings import Settings

AHEAD = timedelta(hours=2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'redraft.db'}"
    return Settings(home=tmp_path, database_url=url, engine="echo", min_events=5)


def arranged(settings: Settings, database: Database) -> BackgroundScheduler:
    scheduler = BackgroundScheduler(timezone="UTC")
    schedule.arrange(scheduler, settings, database)
    scheduler.start(paused=True)
    return scheduler


def kept_for(database: Database, settings: Settings, when: datetime) -> None:
    """Both jobs in the database, due then."""
    arranged(settings, database).shutdown()
    store = SQLAlchemyJobStore(engine=database.bind)
    store.start(BackgroundScheduler(), "default")
    for job in store.get_all_jobs():
        job.next_run_time = when
        store.update_job(job)


def test_a_clock_set_back_does_not_stop_the_looks(settings: Settings, database: Database) -> None:
    scheduler = arranged(settings, database)
    nightly = scheduler.get_job("nightly").next_run_time
    scheduler.modify_job("events", next_run_time=datetime.now(UTC) + AHEAD)
    schedule.take_times_anew(scheduler, settings)
    soon = datetime.now(UTC) + timedelta(seconds=schedule.LOOK)
    assert scheduler.get_job("events").next_run_time <= soon
    assert scheduler.get_job("nightly").next_run_time == nightly, "tonight is still tonight"
    scheduler.shutdown()


def test_a_clock_that_was_wrong_at_the_last_start_does_not_either(
    settings: Settings, database: Database
) -> None:
    kept_for(database, settings, datetime.now(UTC) + timedelta(days=365))
    scheduler = arranged(settings, database)
    soon, tomorrow = (
        datetime.now(UTC) + wait for wait in (timedelta(seconds=schedule.LOOK), timedelta(days=1))
    )
    assert scheduler.get_job("events").next_run_time <= soon
    assert scheduler.get_job("nightly").next_run_time <= tomorrow
    scheduler.shutdown()


def test_a_scheduler_at_work_notices_that_the_clock_was_set_back(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets, anew = iter([0.0, 0.0, -3600.0]), list[BackgroundScheduler]()
    monkeypatch.setattr(schedule, "wall_offset", lambda: next(offsets, -3600.0))

    def take(scheduler: BackgroundScheduler, _: Settings) -> None:
        anew.append(scheduler)
        os.kill(os.getpid(), schedule.signal.SIGTERM)

    monkeypatch.setattr(schedule, "take_times_anew", take)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    handlers = {n: schedule.signal.getsignal(n) for n in (2, 15)}
    try:
        schedule.run_scheduler(settings)
    finally:
        for number, handler in handlers.items():
            schedule.signal.signal(number, handler)
    assert len(anew) == 1, "once for one change"


def test_a_clock_set_forward_neither_steals_a_live_run_nor_gives_it_up(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.session() as session:
        run_id = runs.claim_run(session, {}).id
    began = []

    def beat(seconds: float) -> None:
        began.append(seconds)
        with database.session() as session:
            runs.heartbeat(session, run_id, "train", {})

    monkeypatch.setattr(start.time, "sleep", beat)
    monkeypatch.setattr(start, "_spawn", lambda *_: pytest.fail("the run is at work"))
    monkeypatch.setattr(schedule, "_resumed", {run_id})  # it died once, earlier
    for look in (schedule._resume_once, start.resume_run):
        with database.session() as session:
            session.execute(sa.update(Run).values(heartbeat=datetime.now(UTC) - AHEAD))
        assert not look(settings, database)
    assert began == [start.LISTEN] * 2
    with database.reading() as session:
        assert runs.get_run(session, run_id).state == "running"


@pytest.mark.parametrize(
    ("line", "month", "day"),
    [("30 2 * * *", 3, 29), ("30 2 * * *", 10, 25), ("0 3 * * *", 3, 29), ("0 3 * * *", 10, 25)],
)
def test_no_night_is_left_out_when_summer_time_begins_or_ends(
    line: str, month: int, day: int
) -> None:
    """On 2026-03-29 there is no 02:30 in Berlin, on 2026-10-25 there are two."""
    berlin = ZoneInfo("Europe/Berlin")
    trigger = CronTrigger.from_crontab(line, timezone=berlin)
    last = datetime(2026, month, day - 2, 12, tzinfo=berlin)
    days = []
    for _ in range(5):
        now = (last.astimezone(UTC) + timedelta(seconds=1)).astimezone(berlin)
        last = trigger.get_next_fire_time(last, now)
        days.append(last.day)
    assert {day - 1, day, day + 1} <= set(days)


@pytest.mark.slow
def test_two_schedulers_on_one_database_start_one_run(
    settings: Settings, database: Database
) -> None:
    record_corrections(database, "m", 6)
    kept_for(database, settings, datetime.now(UTC) - AHEAD)  # both are late: they look at once
    logs = [settings.home / f"log{n}" for n in (1, 2)]
    started = []
    for log in logs:
        with log.open("wb") as out:
            command = [sys.executable, "-m", "retrain.schedule"]
            env = os.environ | environment(settings)
            started.append(subprocess.Popen(command, cwd=ROOT, stderr=out, env=env))

    def ended() -> bool:
        with database.reading() as session:
            found = [run.state for run in runs.list_runs(session)]
        return bool(found) and "running" not in found

    try:
        wait_until(ended, 120, lambda: "".join(log.read_text() for log in logs))
        wait_until(lambda: all("after 5 new" in log.read_text() for log in logs), 60)
    finally:
        for process in started:
            process.terminate()
        codes = [process.wait(60) for process in started]
    assert codes == [0, 0], "".join(log.read_text() for log in logs)
    with database.reading() as session:
        assert [run.state for run in runs.list_runs(session)] == ["refused"]
