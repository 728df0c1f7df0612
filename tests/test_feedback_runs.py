"""One run at a time, known to be alive, taken up again after a crash."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from feedback_databases import BACKENDS, a_story, a_user, fresh_database, fresh_url, rating

from feedback import moments, record, runs
from feedback.database import Database, open_database
from feedback.errors import Conflict, Invalid, NotFound
from feedback.migrate import migrate
from feedback.tables import Run

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=BACKENDS, scope="module")
def module_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


@pytest.fixture
def database(module_database: Database) -> Database:
    """Without runs."""
    with module_database.session() as session:
        session.execute(sa.delete(Run))
    return module_database


def claimed(database: Database) -> Run:
    with database.session() as session:
        return runs.claim_run(session, {"seed": 7})


def taken_by(database: Database, run: Run, **fields: object) -> None:
    """Let the run be somebody else's."""
    with database.session() as session:
        session.execute(sa.update(Run).where(Run.id == run.id).values(**fields))


def a_dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_run_starts_goes_on_and_ends(database: Database) -> None:
    user = a_user(database)
    _, _, (draft, _) = a_story(database, user)
    with database.session() as session:
        given = record.record_feedback(session, user, rating(draft))
    run = claimed(database)
    assert (run.id, run.state, run.active, run.recipe) == ("r-0001", "running", 1, {"seed": 7})
    assert (run.pid, run.last_feedback_seq) == (os.getpid(), given.seq)
    taken_by(database, run, heartbeat=run.created_at - timedelta(seconds=100))
    with database.session() as session:
        runs.heartbeat(session, run.id, "train", {"step": 3, "of": 30}, last_feedback_seq=99)
    with database.reading() as session:
        got = runs.get_run(session, run.id)
        assert (got.step, got.progress, got.last_feedback_seq) == (
            "train",
            {"step": 3, "of": 30},
            99,
        )
        assert got.heartbeat >= got.created_at
        assert runs.interrupted(session) is None
    with database.session() as session:
        runs.finish_run(session, run.id, "promoted", "better", "a-0001-x")
    with database.reading() as session:
        (got,) = runs.list_runs(session)
        assert (got.state, got.message, got.adapter, got.active) == (
            "promoted",
            "better",
            "a-0001-x",
            None,
        )
        assert got.finished_at and got.finished_at >= got.created_at


def test_numbers_go_up_and_the_newest_comes_first(database: Database) -> None:
    for _ in range(3):
        run = claimed(database)
        with database.session() as session:
            runs.finish_run(session, run.id, "refused", "too little")
    taken_by(database, run, id="r-9999")
    assert claimed(database).id == "r-10000"
    with database.reading() as session:
        listed = [run.id for run in runs.list_runs(session, 3)]
    assert listed == ["r-10000", "r-9999", "r-0002"]


def test_there_is_one_run_at_a_time(database: Database) -> None:
    run = claimed(database)
    expected = f"Run {run.id} is running since {moments.iso(run.created_at)} .*Wait until it ends"
    with pytest.raises(Conflict, match=expected):
        claimed(database)
    with database.session() as session:
        runs.finish_run(session, run.id, "failed", "no memory")
    assert claimed(database).id == "r-0002"


def test_one_of_many_that_claim_at_once_gets_it(database: Database) -> None:
    start = Barrier(8)

    def claim(_: int) -> str | None:
        start.wait()
        try:
            return claimed(database).id
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(claim, range(8)), key=str)[:8] == [None] * 7 + ["r-0001"]


def test_a_run_whose_process_died_is_resumed(database: Database) -> None:
    run = claimed(database)
    taken_by(database, run, pid=a_dead_process(), step="train")
    with pytest.raises(Conflict, match="interrupted at step train.*`redraft retrain resume`"):
        claimed(database)
    with database.session() as session:
        found = runs.interrupted(session)
        assert found and found.id == run.id
        resumed = runs.resume_run(session, run.id)
        assert (resumed.state, resumed.pid, resumed.step) == ("running", os.getpid(), "train")
        assert runs.interrupted(session) is None


def test_a_run_on_another_machine_is_alive_while_it_is_heard(database: Database) -> None:
    run = claimed(database)
    taken_by(database, run, host="elsewhere", pid=a_dead_process())
    with database.session() as session:
        assert runs.interrupted(session) is None
        with pytest.raises(Conflict, match="on elsewhere"):
            runs.resume_run(session, run.id)
    taken_by(database, run, heartbeat=moments.now() - timedelta(seconds=121))
    with database.session() as session:
        assert runs.interrupted(session)
        assert runs.resume_run(session, run.id).host != "elsewhere"


@pytest.fixture(params=[180, -180])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's clock is three minutes ahead or behind; the database's is right."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=request.param)

    monkeypatch.setattr(moments, "datetime", Wrong)


def test_what_this_hosts_clock_says_of_a_run_elsewhere_does_not_matter(
    database: Database, wrong_clock: None
) -> None:
    run = claimed(database)
    right = datetime.now(UTC)
    taken_by(database, run, host="elsewhere", heartbeat=right)
    with database.session() as session:
        assert runs.interrupted(session) is None
        with pytest.raises(Conflict, match="is running since .* on elsewhere"):
            runs.resume_run(session, run.id)
    taken_by(database, run, heartbeat=right - timedelta(seconds=121))
    with database.session() as session:
        assert runs.interrupted(session)


def test_heartbeats_are_told_in_the_databases_time(database: Database, wrong_clock: None) -> None:
    run = claimed(database)
    with database.session() as session:
        for told in (
            run.heartbeat,
            run.created_at,
            runs.heartbeat(session, run.id, "train", {}).heartbeat,
            runs.finish_run(session, run.id, "interrupted", "").heartbeat,
            runs.resume_run(session, run.id).heartbeat,
            runs.finish_run(session, run.id, "failed", "").finished_at,
        ):
            assert told and abs(datetime.now(UTC) - told) < timedelta(seconds=60)


def test_a_run_is_held_by_the_process_that_has_it(database: Database) -> None:
    run = claimed(database)
    with database.session() as session:
        assert runs.hold_run(session, run.id).id == run.id
    taken_by(database, run, pid=1, host="elsewhere")
    with database.session() as session:
        with pytest.raises(Conflict, match="taken up by process 1 on elsewhere"):
            runs.hold_run(session, run.id)
        runs.finish_run(session, run.id, "interrupted", "by who started it")


def test_a_process_whose_run_was_taken_up_is_told_to_stop(database: Database) -> None:
    run = claimed(database)
    taken_by(database, run, pid=1, host="elsewhere")
    with database.session() as session:
        with pytest.raises(Conflict, match="taken up by process 1 on elsewhere.*must stop"):
            runs.heartbeat(session, run.id, "train", {})
        runs.finish_run(session, run.id, "failed", "killed")
        with pytest.raises(Conflict, match="has ended .failed.*must stop"):
            runs.heartbeat(session, run.id, "train", {})


CHILD = """
import sys
from feedback import runs
from feedback.database import open_database
database = open_database(sys.argv[1])
with database.session() as session:
    print(runs.heartbeat(session, "r-0001", "train", {}).pid)
"""


def test_a_process_goes_on_where_the_one_that_claimed_is_gone(database: Database) -> None:
    run = claimed(database)
    taken_by(database, run, pid=a_dead_process())
    with database.session() as session:
        assert runs.heartbeat(session, run.id, "train", {}).pid == os.getpid()


def test_a_child_process_takes_over_what_its_parent_claimed() -> None:
    with fresh_url("sqlite") as url:
        database = open_database(url)
        migrate(database)
        claimed(database)
        command = [sys.executable, "-c", CHILD, url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.communicate()[0].strip() == f"{child.pid}"
        with database.reading() as session:
            found = runs.interrupted(session)  # the child has ended without finishing it
            assert found and found.pid == child.pid
        database.close()


def test_a_run_that_was_stopped_frees_the_slot_and_can_be_resumed(database: Database) -> None:
    run = claimed(database)
    with database.session() as session:
        runs.finish_run(session, run.id, "interrupted", "stopped by Ctrl-C")
        found = runs.interrupted(session)
        assert found and (found.id, found.finished_at) == (run.id, None)
        assert runs.resume_run(session, run.id).state == "running"
        runs.finish_run(session, run.id, "interrupted", "stopped again")
    newer = claimed(database)
    with database.session() as session:
        assert runs.interrupted(session) is None
        with pytest.raises(Conflict, match=f"Run {newer.id} is running"):
            runs.resume_run(session, run.id)


def test_a_run_that_ended_is_not_resumed(database: Database) -> None:
    run = claimed(database)
    with database.session() as session:
        runs.finish_run(session, run.id, "rejected", "worse")
        assert runs.interrupted(session) is None
        with pytest.raises(Conflict, match="has ended .rejected.; there is nothing to resume"):
            runs.resume_run(session, run.id)


def test_what_is_wrong_with_a_run_is_told(database: Database) -> None:
    run = claimed(database)
    with database.session() as session:
        with pytest.raises(Invalid, match="ends as one of interrupted, promoted"):
            runs.finish_run(session, run.id, "done", "")
        for id in ("r-0099", "", "\0", "\ud800"):
            with pytest.raises(NotFound):
                runs.get_run(session, id)
            with pytest.raises(NotFound):
                runs.heartbeat(session, id, "train", {})
            with pytest.raises(NotFound):
                runs.resume_run(session, id)
            with pytest.raises(NotFound):
                runs.finish_run(session, id, "failed", "")


def test_a_process_that_ended_and_was_not_collected_is_gone(database: Database) -> None:
    with database.session() as session:
        run = runs.claim_run(session, {})
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it ends, and stays a zombie
    taken_by(database, run, pid=ended.pid, step="train")
    with database.reading() as session:
        found = runs.interrupted(session)
        assert found is not None and found.id == run.id
    ended.wait()
