"""The registry: one champion at most, and a way back for as many steps as there were."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from feedback_databases import BACKENDS, a_story, a_user, fresh_database, rating
from sqlalchemy.orm import Session

from feedback import adapters, record, runs
from feedback.database import Database
from feedback.errors import Conflict, NotFound
from feedback.tables import Adapter, Deployment


@pytest.fixture(params=BACKENDS, scope="module")
def module_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


@pytest.fixture
def database(module_database: Database) -> Database:
    """Without adapters."""
    with module_database.session() as session:
        session.execute(sa.delete(Deployment))
        session.execute(sa.update(Adapter).values(parent=None))
        session.execute(sa.delete(Adapter))
    return module_database


def register(session: Session, *names: str, **fields: str) -> None:
    for name in names:
        adapters.register_adapter(
            session,
            name=name,
            base_model="smollm2-135m",
            path=f"adapters/{name}",
            digest="0" * 64,
            **fields,
        )


def serving(session: Session) -> str | None:
    found = adapters.champion(session)
    return found.name if found else None


def promote(session: Session, name: str | None) -> str | None:
    return adapters.set_champion(session, name, "ada", "better")


def states(session: Session) -> dict[str, str]:
    return {adapter.name: adapter.state for adapter in adapters.list_adapters(session)}


def test_names_are_immutable(database: Database) -> None:
    with database.session() as session:
        register(session, "a-0001-x")
        with pytest.raises(Conflict, match="Names are immutable"):
            register(session, "a-0001-x")
        with pytest.raises(Conflict, match="parent or run does not exist"):
            register(session, "a-0002-x", parent="a-0009-x")
        assert states(session) == {"a-0001-x": "candidate"}


def test_numbers_go_up(database: Database) -> None:
    with database.session() as session:
        assert adapters.next_adapter_number(session) == 1
        register(session, "a-0002-x", "imported", "a-9999-x")
        assert adapters.next_adapter_number(session) == 10_000
        register(session, "a-10000-x")
        assert adapters.next_adapter_number(session) == 10_001


def test_one_champion_follows_the_other(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b")
        assert serving(session) is None
        assert promote(session, "a") is None
        assert promote(session, "b") == "a"
        assert promote(session, "b") == "b"  # serves already: no event
    with database.reading() as session:
        assert serving(session) == "b"
        assert states(session) == {"a": "retired", "b": "champion"}
        events = session.scalars(sa.select(Deployment).order_by(Deployment.seq)).all()
        assert [(event.action, event.adapter, event.previous) for event in events] == [
            ("promote", "a", None),
            ("promote", "b", "a"),
        ]
        assert {(event.by, event.reason) for event in events} == {("ada", "better")}


def test_rolling_back_goes_back_step_by_step(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b", "c")
        for name in ("a", "b", "c"):
            promote(session, name)
        back = [adapters.rollback(session, "ada", "worse") for _ in range(3)]
        assert back == [("b", "c"), ("a", "b"), (None, "a")]
        assert serving(session) is None
        assert set(states(session).values()) == {"retired"}
        with pytest.raises(Conflict, match="nothing to roll back"):
            adapters.rollback(session, "ada", "worse")


def test_a_rollback_is_forgotten_by_the_next_promotion(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b", "c")
        promote(session, "a")
        promote(session, "b")
        adapters.rollback(session, "ada", "worse")
        promote(session, "c")
        assert adapters.previous_champion(session) == "a"
        promote(session, "a")  # by name: again a step forward
        assert adapters.previous_champion(session) == "c"
        assert adapters.rollback(session, "ada", "worse") == ("c", "a")
        assert adapters.rollback(session, "ada", "worse") == ("a", "c")
        assert adapters.rollback(session, "ada", "worse") == (None, "a")


def test_the_base_can_be_put_back_by_name(database: Database) -> None:
    with database.session() as session:
        register(session, "a")
        promote(session, "a")
        assert promote(session, None) == "a"
        assert adapters.rollback(session, "ada", "was good") == ("a", None)


def test_a_rollback_may_skip_steps(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b", "c")
        for name in ("a", "b", "c"):
            promote(session, name)
        adapters.set_champion(session, "a", "monitor", "worse", action="rollback")
        assert adapters.previous_champion(session) is None


def test_a_rejected_adapter_never_serves(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b")
        adapters.reject_adapter(session, "a", "gate", "worse on 40 of 60")
        with pytest.raises(Conflict, match="a was rejected and never serves"):
            promote(session, "a")
        promote(session, "b")
        with pytest.raises(Conflict, match="serves now. Roll back first"):
            adapters.reject_adapter(session, "b", "gate", "worse")
        assert states(session) == {"a": "rejected", "b": "champion"}
        assert adapters.previous_champion(session) is None


def test_unknown_adapters_are_not_found(database: Database) -> None:
    with database.session() as session:
        register(session, "a")
        promote(session, "a")
        for name in ("a-0009-x", "", "\0", "\ud800"):
            for asked in (promote, adapters.get_adapter, adapters.lineage):
                with pytest.raises(NotFound):
                    asked(session, name)
        assert serving(session) == "a"


def test_promotions_at_once_follow_each_other(database: Database) -> None:
    names = [f"a-{number}" for number in range(6)]
    with database.session() as session:
        register(session, *names)
    start = Barrier(len(names))

    def put(name: str) -> str | None:
        start.wait()
        with database.session() as session:
            return promote(session, name)

    with ThreadPoolExecutor(len(names)) as pool:
        before = set(pool.map(put, names))
    with database.reading() as session:
        assert before | {serving(session)} == {None, *names}
        assert sorted(states(session).values()) == ["champion"] + ["retired"] * 5
        assert adapters.previous_champion(session) in before


def test_lineage_goes_back_to_the_base(database: Database) -> None:
    user = a_user(database)
    _, _, (draft, _) = a_story(database, user)
    with database.session() as session:
        record.record_feedback(session, user, rating(draft, 1))
        given = record.record_feedback(session, user, rating(draft, -1))
        last = record.withdraw_feedback(session, user, given.id)
        run = runs.claim_run(session, {"seed": 7})
        register(session, "a")
        register(session, "b", parent="a", run_id=run.id)
        runs.finish_run(session, run.id, "promoted", "", "b")
        record.record_feedback(session, user, rating(draft, 1))  # after the run
    with database.reading() as session:
        found = adapters.lineage(session, "b")
    assert (found["name"], found["state"], found["base_model"]) == (
        "b",
        "candidate",
        "smollm2-135m",
    )
    assert found["run"]["id"] == run.id
    assert found["run"]["last_feedback_seq"] == last.seq
    assert found["run"]["feedback"] >= 2
    assert found["parent"]["name"] == "a"
    assert (found["parent"]["run"], found["parent"]["parent"]) == (None, None)
