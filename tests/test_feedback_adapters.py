"""The registry: one champion at most, and a way back for as many steps as there were."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from feedback_databases import BACKENDS, fresh_database
from sqlalchemy.orm import Session

from feedback import adapters
from feedback.database import Database
from feedback.errors import Conflict, Invalid, NotFound, Overtaken
from feedback.lineage import lineage
from feedback.moments import now
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


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "a%2e", "-a", "a\n", "ä", "a\0"])
def test_a_name_is_one_part_of_a_path_and_of_an_address(database: Database, name: str) -> None:
    with database.session() as session, pytest.raises(Invalid, match="letters, digits, - and _"):
        register(session, name)


def test_a_name_has_room_in_the_record(database: Database) -> None:
    with database.session() as session:
        register(session, "a" * 64)
        with pytest.raises(Invalid, match="64 characters at most, not 65"):
            register(session, "a" * 65)


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
            for asked in (promote, adapters.get_adapter, lineage):
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


def canary(session: Session, name: str, share: float = 0.1) -> str | None:
    return adapters.set_canary(session, name, share, "ada", "better on paper")


def canary_name(session: Session) -> str | None:
    found = adapters.canary(session)
    return found.name if found else None


def events(session: Session) -> list[tuple[str, str | None, str]]:
    found = session.scalars(sa.select(Deployment).order_by(Deployment.seq))
    return [(event.action, event.adapter, event.reason) for event in found]


def test_a_canary_serves_beside_the_champion(database: Database) -> None:
    before = now()
    with database.session() as session:
        register(session, "a", "b")
        promote(session, "a")
        assert adapters.canary(session) is None
        assert canary(session, "b", 0.25) is None
        assert canary(session, "b", 0.25) is None, "once more changes nothing"
        with pytest.raises(Conflict, match="the canary already, on 25 % of new conversations"):
            canary(session, "b", 0.5)
    with database.reading() as session:
        found = adapters.canary(session)
        assert found and (found.name, found.path, found.share) == ("b", "adapters/b", 0.25)
        assert before <= found.since <= now()
        assert states(session) == {"a": "champion", "b": "canary"}
        assert [event[:2] for event in events(session)] == [("promote", "a"), ("canary", "b")]


def test_a_canary_that_is_promoted_is_the_champion(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b")
        promote(session, "a")
        canary(session, "b")
        assert promote(session, "b") == "a"
        assert (serving(session), canary_name(session)) == ("b", None)
        assert states(session) == {"a": "retired", "b": "champion"}
        assert adapters.rollback(session, "ada", "worse") == ("a", "b")


def test_another_champion_ends_the_canary_that_was_held_against_the_old_one(
    database: Database,
) -> None:
    with database.session() as session:
        register(session, "a", "b", "c")
        canary(session, "b")
        promote(session, "c")
        assert (serving(session), canary_name(session)) == ("c", None)
        assert ("retire", "b", "the champion changed to c") in events(session)


def test_a_newer_canary_takes_the_place_of_the_older(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b")
        canary(session, "a")
        assert canary(session, "b") == "a"
        assert states(session) == {"a": "retired", "b": "canary"}
        assert ("retire", "a", "b takes its place") in events(session)


def test_a_rollback_takes_the_canary_out_first(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b")
        promote(session, "a")
        canary(session, "b")
        assert adapters.rollback(session, "ada", "odd") == ("a", "b")
        assert (serving(session), states(session)["b"]) == ("a", "retired")
        assert adapters.rollback(session, "ada", "odd") == (None, "a")


def test_a_retired_canary_leaves_its_numbers_and_may_come_again(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b")
        canary(session, "a", 0.1)
        with pytest.raises(Conflict, match="b is not the canary, a is"):
            adapters.retire_canary(session, "b", "ada", "?")
        with pytest.raises(NotFound):
            adapters.retire_canary(session, "a-0009-x", "ada", "?")
        adapters.retire_canary(session, "a", "monitor", "worse", {"e_value": 20.5})
        with pytest.raises(Conflict, match="a is not the canary"):
            adapters.retire_canary(session, "a", "ada", "again")
        last = session.scalars(sa.select(Deployment).order_by(Deployment.seq.desc())).first()
        assert last and (last.action, last.facts) == ("retire", {"e_value": 20.5})
        canary(session, "a", 0.3)
        again = adapters.canary(session)
        assert again and again.share == 0.3


def test_what_cannot_be_a_canary(database: Database) -> None:
    with database.session() as session:
        register(session, "a", "b", "c")
        promote(session, "a")
        adapters.reject_adapter(session, "b", "gate", "worse")
        for share in (0, 1, -0.5, 1.5, float("nan")):
            with pytest.raises(Invalid, match="more than 0 and less than 1"):
                canary(session, "c", share)
        with pytest.raises(Conflict, match="cannot be its own canary"):
            canary(session, "a")
        with pytest.raises(Conflict, match="was rejected"):
            canary(session, "b")
        with pytest.raises(NotFound):
            canary(session, "a-0009-x")
        canary(session, "c")
        with pytest.raises(Conflict, match="serves now. Roll back first"):
            adapters.reject_adapter(session, "c", "gate", "worse")
        with pytest.raises(Conflict, match="a is no canary any more, but champion"):
            adapters.expect(session, "a", "canary")
        assert (serving(session), canary_name(session)) == ("a", "c")


def test_a_verdict_holds_while_the_champion_that_it_was_made_against_serves(
    database: Database,
) -> None:
    with database.session() as session:
        register(session, "a-0001", "a-0002", "a-0003")
        adapters.expect_champion(session, "a-0003", "base")
        promote(session, "a-0001")
        adapters.expect_champion(session, "a-0003", "a-0001")
        adapters.expect_champion(session, "a-0001", "base")  # it serves already
        for judged_against in ("base", "a-0002"):
            with pytest.raises(Overtaken, match=f"against {judged_against}, but a-0001 serves now"):
                adapters.expect_champion(session, "a-0003", judged_against)
        promote(session, None)
        with pytest.raises(Overtaken, match="against a-0001, but base serves now"):
            adapters.expect_champion(session, "a-0003", "a-0001")


def test_a_champion_of_another_base_model_counts_as_none(database: Database) -> None:
    with database.session() as session:
        register(session, "a-0001", "a-0002")
        adapters.get_adapter(session, "a-0001").base_model = "another"
        promote(session, "a-0001")
        adapters.expect_champion(session, "a-0002", "base")
