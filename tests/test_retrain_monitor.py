"""The canary's monitor: stops what is worse, promotes what has earned it, at any look."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from api_context import open_here
from conftest import free_port
from feedback_databases import a_completion, a_turn, rating
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from feedback import adapters, record, users
from feedback.database import Database, open_database
from feedback.errors import Conflict
from feedback.migrate import migrate
from feedback.split import takes_canary
from feedback.tables import Deployment
from retrain import deploy, monitor
from serve.api import create_app
from serve.settings import Settings, load_settings

CANARY, SHARE = "a-0002-abcdef", 0.5
PEOPLE = tuple(f"user-{number}" for number in range(20))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, and we need not knock often to know."""
    monkeypatch.setattr(deploy, "KNOCKS", 1)


@pytest.fixture
def settings() -> Settings:
    return Settings(port=free_port(), canary_votes=12)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_database(f"sqlite:///{tmp_path / 'redraft.db'}")
    migrate(found)
    with found.session() as session:
        for name in PEOPLE:
            users.add_user(session, name)
        adapters.register_adapter(session, name=CANARY, base_model="m", path="x", digest="d")
        adapters.set_canary(session, CANARY, SHARE, "gate", "better")
    yield found
    found.close()


def vote(
    database: Database, count: int, *, canary_good: bool, names: tuple[str, ...] = PEOPLE
) -> None:
    """So many votes on each, by the people in turn; the champion's are good."""
    left = {True: count, False: count}
    with database.session() as session:
        people = [users.known_user(session, name) for name in names]
        while any(left.values()):
            user = people[sum(left.values()) % len(people)]
            talk = record.start_conversation(session, user.id, "talk", 0.2)
            on_canary = takes_canary(talk.id, CANARY, SHARE)
            if not left[on_canary]:
                continue
            left[on_canary] -= 1
            turn, _ = a_turn(session, talk, drafts=0)
            answer = a_completion(session, turn, adapter=CANARY if on_canary else "base")
            value = 1 if canary_good or not on_canary else -1
            record.record_feedback(session, user, rating(answer, value))


def last_event(database: Database) -> Deployment:
    with database.reading() as session:
        return session.scalars(select(Deployment).order_by(Deployment.seq.desc())).first()  # type: ignore[return-value]


def state(database: Database) -> str:
    with database.reading() as session:
        return adapters.get_adapter(session, CANARY).state


def test_a_canary_with_few_votes_is_left_alone(settings: Settings, database: Database) -> None:
    vote(database, 3, canary_good=True)
    assert monitor.judge_canary(settings, database) is None
    assert (state(database), last_event(database).action) == ("canary", "canary")


def test_a_canary_that_is_worse_is_stopped_before_its_votes_are_full(
    settings: Settings, database: Database
) -> None:
    vote(database, 10, canary_good=False)
    assert "worse than the champion" in (monitor.judge_canary(settings, database) or "")
    event = last_event(database)
    assert (state(database), event.action, event.by) == ("retired", "retire", "monitor")
    assert "0 of 10 votes good, the champion's 10 of 10" in event.reason
    assert event.facts and event.facts["e_value"] >= 25 and event.facts["canary_votes"] == 10
    assert monitor.judge_canary(settings, database) is None, "there is none any more"


def test_a_canary_that_is_not_worse_becomes_champion(
    settings: Settings, database: Database
) -> None:
    vote(database, 12, canary_good=True)
    assert "not worse" in (monitor.judge_canary(settings, database) or "")
    event = last_event(database)
    assert (state(database), event.action, event.by) == ("champion", "promote", "monitor")
    assert event.facts and event.facts["canary_good"] == 12


def test_one_user_makes_no_champion(settings: Settings, database: Database) -> None:
    vote(database, 12, canary_good=True, names=PEOPLE[:1])
    assert monitor.judge_canary(settings, database) is None
    assert state(database) == "canary"
    found = monitor.look(database)
    said = monitor.waiting(settings, found[1]) if found else None
    assert said and said.startswith("waits: its 12 votes are of 1 of 2 users that it takes")
    vote(database, 1, canary_good=True, names=PEOPLE[1:2])
    assert "not worse" in (monitor.judge_canary(settings, database) or "")


def test_one_user_stops_no_canary(settings: Settings, database: Database) -> None:
    """Whoever votes down what names the canary as its adapter."""
    vote(database, 6, canary_good=True, names=PEOPLE[1:])
    vote(database, 30, canary_good=False, names=PEOPLE[:1])
    assert "worse" not in (monitor.judge_canary(settings, database) or "").replace("not worse", "")
    assert state(database) != "retired"


def test_a_reviewer_decides_alone(settings: Settings, database: Database) -> None:
    with database.session() as session:
        users.set_role(session, PEOPLE[0], "reviewer")
    vote(database, 12, canary_good=True, names=PEOPLE[:1])
    assert "not worse" in (monitor.judge_canary(settings, database) or "")
    assert state(database) == "champion"


def test_a_stop_comes_before_a_promotion(settings: Settings, database: Database) -> None:
    vote(database, 30, canary_good=False)
    monitor.judge_canary(settings, database)
    assert state(database) == "retired"


def test_a_running_server_takes_it_out_and_goes_on(tmp_path: Path) -> None:
    """Over HTTP only, as people vote and as the scheduler asks."""
    settings = load_settings(home=tmp_path, engine="echo")
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / file).write_text("{}")
    with open_here(settings) as here, running(create_app(here)) as port:
        with here.database.session() as session:
            adapters.register_adapter(
                session, name=CANARY, base_model="smollm2-135m", path=str(tmp_path), digest="d"
            )
        here.serving.put_canary(CANARY, SHARE, "test", "")
        http = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", trust_env=False)
        for _ in range(40):
            body = {"model": "redraft", "messages": [{"role": "user", "content": "who"}]}
            ours = http.post("/chat/completions", json=body).json()["redraft"]
            value = -1 if ours["adapter"] == CANARY else 1
            http.post("/feedback", json=rating(ours["completion_ids"][0], value))
        asked = settings.model_copy(update={"port": port})
        assert monitor.judge_canary(asked, here.database) is not None
        assert here.serving.canary is None
        listed = http.get(f"/adapters/{CANARY}/lineage").json()
    assert (listed["state"], listed["events"][-1]["action"]) == ("retired", "retire")
    assert listed["events"][-1]["facts"]["e_value"] >= 25


@contextmanager
def running(app: Flask) -> Iterator[int]:
    """The app behind a port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_taken_out_meanwhile_is_not_promoted(
    settings: Settings, database: Database
) -> None:
    with database.session() as session:
        adapters.rollback(session, "ada", "by hand")
    with pytest.raises(Conflict, match="no canary any more, but retired"):
        deploy.promote(settings, database, CANARY, "monitor", "fine", None, "canary")
    with pytest.raises(Conflict, match="is not the canary"):
        deploy.retire(settings, database, CANARY, "worse")
    assert state(database) == "retired"
