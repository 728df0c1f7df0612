"""When runs start by themselves."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from conftest import ROOT, wait_until
from retrain_rows import record_corrections

from feedback import adapters, runs
from feedback.database import Database, open_database
from feedback.migrate import migrate
from retrain import schedule
from retrain.start import environment
from serve.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    url = f"sqlite:///{tmp_path / 'redraft.db'}"
    found = Settings(home=tmp_path, database_url=url, engine="echo", min_events=5)
    for name, value in environment(found).items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    found = open_database(settings.database_url)
    migrate(found)
    yield found
    schedule._stop_children()
    schedule._resumed.clear()
    schedule._waited.clear()
    found.close()


def states(database: Database) -> list[str]:
    with database.reading() as session:
        return [run.state for run in runs.list_runs(session)]


def end_of_runs(database: Database) -> list[str]:
    wait_until(lambda: "running" not in states(database), 60)
    for started in schedule._started:
        started.process.wait(30)
    return states(database)


@pytest.mark.slow
def test_enough_new_feedback_starts_a_run_and_a_refused_one_is_not_repeated(
    database: Database,
) -> None:
    record_corrections(database, "m", 4)
    schedule.events()
    assert states(database) == [], "4 of 5 events"
    record_corrections(database, "m", 1, user="ben")
    schedule.events()
    assert end_of_runs(database) == ["refused"]
    schedule.events()
    schedule.nightly()
    assert states(database) == ["refused"], "nothing new came"
    record_corrections(database, "m", 1, user="chi")
    schedule.events()
    assert states(database) == ["refused"], "1 of 5 events"
    schedule.nightly()
    assert end_of_runs(database) == ["refused", "refused"], "at night one is enough"


def test_one_run_at_a_time(database: Database) -> None:
    record_corrections(database, "m", 6)
    with database.session() as session:
        runs.claim_run(session, {})
    record_corrections(database, "m", 6, user="ben")
    schedule.events()
    assert states(database) == ["running"]


def crash_at_once(settings: Settings) -> None:
    """A run whose process is gone."""
    claim = (
        "import sys; from feedback import runs; from feedback.database import open_database\n"
        "with open_database(sys.argv[1]).session() as session: runs.claim_run(session, {})"
    )
    command = [sys.executable, "-c", claim, settings.database_url]
    subprocess.run(command, cwd=ROOT, check=True)


def test_a_crashed_run_goes_on_once(settings: Settings, database: Database) -> None:
    record_corrections(database, "m", 3)
    crash_at_once(settings)
    schedule.events()
    assert end_of_runs(database) == ["refused"]


def test_a_run_that_crashes_again_is_given_up(settings: Settings, database: Database) -> None:
    schedule._resumed.add("r-0001")
    crash_at_once(settings)
    schedule.events()
    assert states(database) == ["failed"]


def test_a_run_stopped_by_hand_is_left_alone(database: Database) -> None:
    with database.session() as session:
        runs.finish_run(session, runs.claim_run(session, {}).id, "interrupted", "Stopped by hand.")
    schedule.events()
    assert states(database) == ["interrupted"]


def test_a_run_waits_until_the_canary_is_decided_on(database: Database) -> None:
    name = "a-0001-abcdef"
    with database.session() as session:
        adapters.register_adapter(session, name=name, base_model="m", path="x", digest="d")
        adapters.set_canary(session, name, 0.1, "gate", "better")
    record_corrections(database, "m", 6)
    schedule.events()
    schedule.nightly()
    assert states(database) == []
    with database.session() as session:
        adapters.rollback(session, "ada", "odd")
    schedule.events()
    assert len(states(database)) == 1


def arranged(settings: Settings, database: Database) -> BackgroundScheduler:
    scheduler = BackgroundScheduler(timezone="UTC")
    schedule.arrange(scheduler, settings, database)
    scheduler.start(paused=True)
    return scheduler


def test_missed_times_survive_a_restart_and_are_made_up_for_once(
    settings: Settings, database: Database
) -> None:
    arranged(settings, database).shutdown()
    late = datetime.now(UTC) - timedelta(days=3)
    store = SQLAlchemyJobStore(engine=database.bind)
    store.start(BackgroundScheduler(), "default")
    kept = store.lookup_job("nightly")
    kept.next_run_time = late
    store.update_job(kept)
    again = arranged(settings, database)
    job = again.get_job("nightly")
    assert job.next_run_time == late
    assert job.coalesce and job.max_instances == 1 and job.misfire_grace_time is None
    assert len(again.get_jobs()) == 2
    again.shutdown()


def test_a_changed_cron_line_replaces_the_job_and_an_empty_one_removes_it(
    settings: Settings, database: Database
) -> None:
    arranged(settings, database).shutdown()
    other = arranged(settings.model_copy(update={"schedule": "30 4 * * *"}), database)
    assert "hour='4'" in str(other.get_job("nightly").trigger)
    other.shutdown()
    none = arranged(settings.model_copy(update={"schedule": ""}), database)
    assert [job.id for job in none.get_jobs()] == ["events"]
    none.shutdown()


@pytest.mark.parametrize(
    ("line", "weekday"),
    [("0 3 * * 0", 6), ("0 3 * * 7", 6), ("0 3 * * 1", 0), ("0 3 * * fri", 4), ("0 3 * * 6", 5)],
)
def test_weekdays_are_crons_own(line: str, weekday: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule.cron_trigger(line).get_next_fire_time(None, start).weekday() == weekday


def test_a_bad_cron_line_is_explained() -> None:
    with pytest.raises(schedule.ScheduleError, match="REDRAFT_SCHEDULE is 'at night'"):
        schedule.cron_trigger("at night")


def test_the_scheduler_ends_cleanly_on_sigterm(settings: Settings) -> None:
    log = settings.home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "retrain.schedule"], cwd=ROOT, stderr=out, env=os.environ
        )
    wait_until(lambda: "after 5 new events" in log.read_text(), 60, log.read_text)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, log.read_text()
    assert "Traceback" not in log.read_text()
