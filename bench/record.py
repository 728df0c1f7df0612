"""The record under volume: writes, export in flat memory, what is new, the dashboard, row parity.

    python bench/record.py --home /somewhere/roomy --events 1000000 --conversations 100000
    python bench/record.py --home … --url postgresql://redraft@localhost/bench --stage writes

Stages can be run one by one over the same home: `writes` (a 201's work: one event a transaction,
durable), `fill` (in bulk, not measured), `settle` (a server's housekeeping), `new`, `dashboard`,
`export`, `parity`.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from feedback import reads, record, tallies, users
from feedback.behind import Filter, list_behind, list_turns
from feedback.dashboard import Period, numbers
from feedback.database import Database, open_database
from feedback.migrate import migrate
from feedback.split import split_of
from feedback.tables import Completion, Conversation, Feedback, Table, Turn, User

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
APART = timedelta(minutes=5)  # from one conversation to the next: 100,000 are a year's
ADAPTERS = ("base", "a-0001-3f9c1e", "a-0002-b2d4aa")
BATCH = 5000
DRAFTS = 2
USERS = 500
WORDS = "lamp warranty refund order door code green window after before most people ask how".split()
Rows = dict[type[Any], list[dict[str, Any]]]


def fill(database: Database, events: int, conversations: int) -> None:
    """Bring the record to that size, as months of use would leave it."""
    draw = random.Random(7)
    with database.session() as session:
        have = session.scalar(sa.select(sa.func.count()).select_from(Conversation)) or 0
        present = session.scalar(sa.select(sa.func.count()).select_from(Feedback)) or 0
        owners = [_user(session, number) for number in range(USERS)]
    if present >= events:
        return
    each, began = events / conversations, time.perf_counter()
    talks = (_talk(draw, number, owners, each) for number in range(have, conversations))
    made = 0
    while batch := list(islice(talks, BATCH // 10)):
        with database.session() as session:
            for table in (Conversation, Turn, Completion, Feedback):
                rows = [row for talk in batch for row in talk[table]]
                for start in range(0, len(rows), BATCH):
                    session.execute(sa.insert(table), rows[start : start + BATCH])
        made += sum(len(talk[Feedback]) for talk in batch)
    print(f"filled with {made} events in {time.perf_counter() - began:.0f} s (in bulk)")


def settle(database: Database) -> None:
    """What a server's own housekeeping does over months, and has not done of rows in bulk."""
    todo = {
        "postgresql": ["VACUUM (ANALYZE)"],
        "mysql": [f"ANALYZE TABLE {table.name}" for table in Table.metadata.sorted_tables],
    }
    todo["mariadb"] = todo["mysql"]
    bind = database.bind.execution_options(isolation_level="AUTOCOMMIT")
    with bind.connect() as connection:
        for statement in todo.get(database.bind.dialect.name, ()):
            connection.execute(sa.text(statement))


def _user(session: Session, number: int) -> str:
    name = f"user-{number}"
    return (users.user_named(session, name) or users.add_user(session, name)).id


def _talk(draw: random.Random, number: int, owners: list[str], events: float) -> Rows:
    """A conversation of two turns with so many events on it, on average."""
    id, owner = f"conv_{number:024d}", owners[number % USERS]
    moment = BEGIN + number * APART
    rows: Rows = {Conversation: [], Turn: [], Completion: [], Feedback: []}
    rows[Conversation].append(
        {"id": id, "user_id": owner, "title": _text(draw, 4), "split": split_of(owner, id, 0.2),
         "created_at": moment, "updated_at": moment}
    )  # fmt: skip
    for position in range(2):
        turn = f"turn_{number:022d}_{position}"
        query = f"{_text(draw, 12)} {number}?"
        rows[Turn].append(
            {"id": turn, "conversation_id": id, "position": position, "query": query,
             "messages": [{"role": "user", "content": query}], "prompt_name": "chat/system",
             "prompt_hash": "0" * 64, "created_at": moment}
        )  # fmt: skip
        rows[Completion] += [
            {"id": f"cmpl_{turn}_{draft}", "turn_id": turn, "draft": draft,
             "text": _text(draw, 60), "token_ids": list(range(80)), "logprobs": [-0.5] * 80,
             "adapter": ADAPTERS[number % 3], "base_model": "m", "engine": "transformers",
             "sampling": {"temperature": 0.7}, "prompt_hash": "0" * 64, "prompt_tokens": 20,
             "finish_reason": "stop", "created_at": moment}
            for draft in range(DRAFTS)
        ]  # fmt: skip
    # Spread, so that the events of all conversations add up to what was asked for.
    for event in range(int(events * (number + 1)) - int(events * number)):
        rows[Feedback].append(_event(draw, rows, owner, number, event, moment))
    return rows


def _event(
    draw: random.Random, rows: Rows, owner: str, number: int, event: int, moment: datetime
) -> dict[str, Any]:
    turn = draw.choice(rows[Turn])
    drafts = [f"cmpl_{turn['id']}_{draft}" for draft in range(DRAFTS)]
    kind = draw.choices(["rating", "comparison", "correction", "copied"], [70, 10, 10, 10])[0]
    about = None if kind == "comparison" else draw.choice(drafts)
    payload = {
        "rating": {"value": draw.choice([1, 1, -1]), "tags": [], "comment": None},
        "comparison": {"shown": drafts, "chosen": draw.choice([*drafts, "tie"])},
        "correction": {"text": _text(draw, 50)},
        "copied": {},
    }[kind]  # fmt: skip
    return {
        "id": f"fb_{number:018d}_{event}",
        "user_id": owner,
        "kind": kind,
        "target_id": about or turn["id"],
        "turn_id": turn["id"],
        "completion_id": about,
        "conversation_id": rows[Conversation][0]["id"],
        "payload": payload,
        "created_at": moment + timedelta(minutes=event),
    }


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def writes(database: Database, writers: int, seconds: float) -> tuple[int, float]:
    """(events that were acknowledged, a second) by so many threads, each a user with thumbs."""
    targets = [_targets(database, number) for number in range(writers)]
    gate, end = threading.Barrier(writers + 1), [0.0]
    acknowledged = [0] * writers

    def write(number: int) -> None:
        user, ids = targets[number]
        gate.wait()
        while time.perf_counter() < end[0]:
            id = ids[acknowledged[number] % len(ids)]
            body = {"kind": "rating", "completion_id": id, "value": 1}
            with database.session() as session:
                record.record_feedback(session, user, body)
            acknowledged[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    before = _count(database)
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    end[0] = began + seconds
    gate.wait()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    count = sum(acknowledged)
    if _count(database) - before != count:
        raise SystemExit(f"{count} were acknowledged, {_count(database) - before} are there")
    return count, count / took


def _targets(database: Database, number: int) -> tuple[User, list[str]]:
    with database.session() as session:
        user = users.user_named(session, f"writer-{number}") or users.add_user(
            session, f"writer-{number}"
        )
        talk = record.start_conversation(session, user.id, "t", 0.0)
        turn = record.record_turn(
            session, turn_id=record.new_id("turn"), conversation_id=talk.id, query="q",
            rewritten_query=None, messages=[{"role": "user", "content": "q"}],
            prompt_name="chat/system", prompt_hash="0",
        )  # fmt: skip
        ids = [record.new_id("cmpl") for _ in range(20)]
        for draft, id in enumerate(ids):
            record.record_completion(
                session, completion_id=id, turn_id=turn.id, draft=draft, text="a", token_ids=None,
                logprobs=None, adapter="base", base_model="m", engine="transformers", sampling={},
                prompt_hash="0", prompt_tokens=1, finish_reason="stop",
            )  # fmt: skip
    return user, ids


def _count(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Feedback)) or 0


def newest(database: Database) -> None:
    """How long it takes to tell what is new since the last run."""
    last = _timed_last(database)
    for since in (100, 1000, 10_000):
        began = time.perf_counter()
        with database.reading() as session:
            count = reads.count_new_feedback(session, max(0, last - since))
        took = time.perf_counter() - began
        print(f"new in the last {since} events: {count} in force, {1000 * took:.0f} ms")


def _timed_last(database: Database) -> int:
    with database.reading() as session:
        return reads.last_feedback_seq(session)


def dashboard(database: Database) -> None:
    """How long the dashboard's numbers of a whole year and the rows behind them take."""
    began = time.perf_counter()
    tallies.refresh(database)
    print(f"dashboard: all days counted in {time.perf_counter() - began:.1f} s, once")
    year = Period(BEGIN.date(), (BEGIN + timedelta(days=364)).date())
    up = Filter(year, "rating", ADAPTERS[1], ("up",))
    lost = Filter(year, "comparison", ADAPTERS[1], ("tie",))
    asked: dict[str, Callable[[Session], object]] = {
        "numbers of a year": lambda session: numbers(session, year, "week"),
        "thumbs up of an adapter": lambda session: list_behind(session, up, 100),
        "ties of an adapter": lambda session: list_behind(session, lost, 100),
        "questions": lambda session: list_turns(session, year, 100),
    }
    user, ids = _targets(database, 0)
    for name, ask in asked.items():
        with database.session() as session:  # what the next look finds to count
            record.record_feedback(session, user, {"kind": "rating", "completion_id": ids[0],
                                                   "value": 1})  # fmt: skip
        began, worked = time.perf_counter(), time.process_time()
        tallies.refresh(database)
        counted = time.perf_counter()
        with database.reading() as session:
            ask(session)
        took = 1000 * (time.perf_counter() - counted)
        cpu = 1000 * (time.process_time() - worked)
        print(
            f"dashboard: {name} {took:.0f} ms after {1000 * (counted - began):.0f} ms for a new "
            f"event, {cpu:.0f} ms of CPU for both"
        )


def export(home: Path, url: str, format: str) -> Path:
    """Export everything in a process of its own; prints time and the most memory it had."""
    file = home / f"{format}.jsonl"
    command = [sys.executable, "-m", "serve.cli", "export", format, str(file)]
    env = {**os.environ, "REDRAFT_HOME": str(home), "REDRAFT_DATABASE_URL": url}
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--split", "all", "--force"], env=env, capture_output=True, text=True
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    most, cpu = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
    rows = sum(1 for _ in file.open(encoding="utf-8"))
    megabytes = file.stat().st_size / 1e6
    print(
        f"export {format}: {rows} rows, {megabytes:.0f} MB, {took:.0f} s, {cpu:.0f} s of CPU "
        f"({rows / cpu:.0f} rows/s), {most:.0f} MB of memory at the most"
    )
    return file


def parity(database: Database, file: Path) -> None:
    """Whether each verdict in force is one line of the export of all."""
    with database.reading() as session:
        wanted = (
            reads.in_force()
            .join(Conversation, Conversation.id == Feedback.conversation_id)
            .where(Conversation.deleted_at.is_(None))
        )
        inside = session.scalar(sa.select(sa.func.count()).select_from(wanted.subquery()))
    lines = sum(1 for _ in file.open(encoding="utf-8"))
    told = "equal" if inside == lines else "NOT EQUAL"
    print(f"parity: {inside} verdicts in force, {lines} lines: {told}")
    if inside != lines:
        raise SystemExit(1)


Stages = Iterator[tuple[str, Callable[[], Any]]]


def stages(given: argparse.Namespace, database: Database) -> Stages:
    def told_writes() -> None:
        for writers in given.writers:
            count, rate = writes(database, writers, given.seconds)
            print(f"{writers} writers: {rate:.0f} acknowledged writes/s ({count} in all)")

    yield "writes", told_writes
    yield "fill", lambda: fill(database, given.events, given.conversations)
    yield "settle", lambda: settle(database)
    yield "new", lambda: newest(database)
    yield "dashboard", lambda: dashboard(database)
    yield "export", lambda: export(given.home, given.url, "label-studio")
    yield "parity", lambda: parity(database, given.home / "label-studio.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--url", default="", help="of the record; SQLite in --home when left out")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--stage", nargs="*", help="some of the stages above")
    given = parser.parse_args()
    given.home.mkdir(parents=True, exist_ok=True)
    given.url = given.url or f"sqlite:///{(given.home / 'redraft.db').absolute()}"
    with closing(open_database(given.url)) as database:
        migrate(database)
        print(f"{database.bind.dialect.name}: {_count(database)} events before")
        for name, run in stages(given, database):
            if not given.stage or name in given.stage:
                run()


if __name__ == "__main__":
    main()
