"""Opening, transactions, many writers at once, and what survives a kill."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from feedback_databases import BACKENDS, a_story, a_user, fresh_database, fresh_url, rating

from feedback import reads, record, users
from feedback.database import Database, open_database
from feedback.errors import DatabaseUnavailable, Unstorable
from feedback.migrate import migrate
from feedback.tables import Conversation, Feedback, Table, Turn, User

ROOT = Path(__file__).parents[1]
THREADS = 16
SERVERS = BACKENDS[1:]


@pytest.fixture(scope="module", params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


def test_a_session_commits_and_its_objects_stay_readable(database: Database) -> None:
    user = a_user(database)
    with database.reading() as session:
        assert session.get_one(User, user.id).name == user.name


def test_an_exception_undoes_the_session(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.session() as session:
        users.add_user(session, "nobody")
        raise ZeroDivisionError
    with database.reading() as session:
        assert session.scalar(sa.select(User).where(User.name == "nobody")) is None


def test_reading_sees_one_moment_and_does_not_wait_for_a_writer(database: Database) -> None:
    with database.reading() as reader:
        before = len(users.list_users(reader))
        with database.session() as writer:
            users.add_user(writer, "meanwhile")
            assert len(users.list_users(reader)) == before
        assert len(users.list_users(reader)) == before
    with database.reading() as reader:
        assert len(users.list_users(reader)) == before + 1


def test_what_is_changed_while_reading_is_dropped(database: Database) -> None:
    with database.reading() as session:
        users.list_users(session)[0].role = "admin"
        session.add(User(id="usr_lost", name="lost", role="user"))
    with database.reading() as session:
        assert session.get(User, "usr_lost") is None


def test_sixteen_threads_write_at_once(database: Database) -> None:
    user = a_user(database)
    _, _, (draft, _) = a_story(database, user)

    def write(thread: int) -> list[int]:
        seqs = []
        for count in range(10):
            with database.session() as session:
                assert reads.last_feedback_seq(session) >= 0  # read first, write later
                row = record.record_feedback(session, user, rating(draft, 1, tags=[f"{thread}"]))
                seqs.append(row.seq)
            with database.reading() as session:
                assert session.get_one(Feedback, seqs[count]).target_id == draft.id
        return seqs

    with ThreadPoolExecutor(THREADS) as pool:
        seqs = [seq for seqs in pool.map(write, range(THREADS)) for seq in seqs]
    assert len(set(seqs)) == THREADS * 10


def test_sixteen_writers_without_a_common_queue_are_as_good_as_processes() -> None:
    with fresh_url("sqlite") as url:
        database = open_database(url)
        migrate(database)
        user = a_user(database)
        _, _, (draft, _) = a_story(database, user)

        def write(value: int) -> None:
            own = open_database(url)
            for _ in range(3):
                with own.session() as session:
                    record.record_feedback(session, user, rating(draft, value))
            own.close()

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(write, [1, -1] * (THREADS // 2)))
        with database.reading() as session:
            assert reads.last_feedback_seq(session) == THREADS * 3
        database.close()


def test_two_turns_sent_at_once_get_two_positions(database: Database) -> None:
    user = a_user(database)
    conversation, first, _ = a_story(database, user)

    def send(number: int) -> int:
        with database.session() as session:
            turn = record.record_turn(
                session,
                turn_id=f"{first.id}-{number}",
                conversation_id=conversation.id,
                query="And now?",
                rewritten_query=None,
                messages=[],
                prompt_name="chat/system",
                prompt_hash="0",
            )
            return turn.position

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == list(range(1, 9))


WRITER = """
import sys
from threading import Lock, Thread
from feedback import record
from feedback.database import open_database
from feedback.tables import User

database = open_database(sys.argv[1])
printing = Lock()
with database.reading() as session:
    user = session.get_one(User, sys.argv[2])

def write():
    while True:
        with database.session() as session:
            body = {"kind": "rating", "completion_id": sys.argv[3], "value": 1}
            row = record.record_feedback(session, user, body)
        with printing:
            print(row.id, flush=True)

for _ in range(4):
    Thread(target=write).start()
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_writer_loses_no_acknowledged_row(backend: str) -> None:
    with fresh_url(backend) as url:
        database = open_database(url)
        migrate(database)
        user = a_user(database)
        _, _, drafts = a_story(database, user)
        acknowledged = _write_and_kill(url, user.id, drafts[0].id, rows=60)
        assert len(acknowledged) >= 60
        with database.reading() as session:
            kept = set(session.scalars(sa.select(Feedback.id)))
            assert acknowledged <= kept
            assert len(kept) - len(acknowledged) <= 4  # at most the ones that were on their way
            if backend == "sqlite":
                assert session.scalar(sa.text("PRAGMA integrity_check")) == "ok"
        database.close()


def _write_and_kill(url: str, *arguments: str, rows: int) -> set[str]:
    command = [sys.executable, "-c", WRITER, url, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        lines = [writer.stdout.readline() for _ in range(rows)]
        writer.kill()
        lines += writer.stdout.readlines()
    return {line.strip() for line in lines if line.endswith("\n")}


def test_sqlite_is_set_up_to_keep_what_it_acknowledges() -> None:
    with fresh_url("sqlite") as url:
        database = open_database(url)
        with database.reading() as session:
            settings = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            values = [session.scalar(sa.text(f"PRAGMA {setting}")) for setting in settings]
        assert values == ["wal", 2, 1, 30_000]
        database.close()


OPENER = """
import sys
from feedback.database import open_database
from feedback.migrate import check, migrate
database = open_database(sys.argv[1])
migrate(database)
check(database)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_processes_open_and_migrate_one_new_database_at_once(backend: str) -> None:
    count = 3 if backend == "sqlite" else 2
    with fresh_url(backend) as url:
        command = [sys.executable, "-c", OPENER, url]
        openers = [
            subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        failures = [opener.communicate()[1] for opener in openers]
        assert [opener.returncode for opener in openers] == [0] * count, failures


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(DatabaseUnavailable, match=r"folder /nowhere/here .* does not exist. Make"):
        open_database("sqlite:////nowhere/here/redraft.db")


@pytest.mark.parametrize("made_before", [False, True])
def test_a_read_only_folder_is_told(made_before: bool) -> None:
    with fresh_url("sqlite") as url:
        folder = Path(sa.make_url(url).database or "").parent
        if made_before:
            database = open_database(url)
            migrate(database)
            database.close()
        folder.chmod(0o555)
        with _without_privileges():
            with pytest.raises(DatabaseUnavailable, match="cannot be written: .* write access"):
                open_database(url)
        folder.chmod(0o755)
        assert [file.name for file in folder.iterdir()] == ["redraft.db"] * made_before


@contextmanager
def _without_privileges() -> Iterator[None]:
    """Root may write everywhere; nobody may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "redraft.db"
    file.write_text("these are not the rows you are looking for" * 100)
    with pytest.raises(DatabaseUnavailable, match="file is not a database"):
        open_database(f"sqlite:///{file}")
    assert file.read_text().startswith("these are not")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("what is this", "cannot be read. It looks like sqlite:///PATH"),
        ("oracle://a:b@c/d", "cannot keep its record in 'oracle'. Use sqlite:///PATH"),
        ("sqlite://", "in memory is lost on exit"),
        ("sqlite:///:memory:", "in memory is lost on exit"),
        ("postgresql://u:secret@127.0.0.1:1/d", "No connection to .* Start the server"),
        ("mysql://u:secret@127.0.0.1:1/d", "No connection to .* Start the server"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, message: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=message) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("database", SERVERS, indirect=True)  # SQLite takes any length
def test_a_value_that_does_not_fit_is_told(database: Database) -> None:
    with pytest.raises(Unstorable, match="cannot store a value: .*Nothing was saved"):
        with database.session() as session:
            session.add(User(id="usr_1", name="n" * 121, role="user"))


def test_a_full_disk_is_told_and_nothing_is_half_written() -> None:
    with fresh_url("sqlite") as url:
        database = open_database(url)
        migrate(database)
        user = a_user(database)
        with pytest.raises(DatabaseUnavailable, match="full. The change was not saved"):
            with database.session() as session:
                pages = session.scalar(sa.text("PRAGMA page_count"))
                session.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
                session.connection().detach()  # the limit goes with this connection
                conversation = record.start_conversation(session, user.id, "Long", 0.0)
                session.add(_long_turn(conversation))
                session.flush()
        with database.reading() as session:
            assert session.scalars(sa.select(Conversation)).all() == []
        database.close()


def _long_turn(conversation: Conversation) -> Turn:
    return Turn(
        id="turn_long",
        conversation_id=conversation.id,
        position=0,
        query="x" * 100_000,
        messages=[],
        prompt_name="chat/system",
        prompt_hash="0",
    )


def test_text_of_all_sorts_and_moments_come_back_as_they_were(database: Database) -> None:
    user = a_user(database)
    text = "Ünïcödé 你好 שלום مرحبا 👩‍👩‍👧 \u202e \\ ' \" % _ \t\r\n" + "長" * 70_000
    with database.session() as session:
        conversation = record.start_conversation(session, user.id, text, 0.2)
        turn = record.record_turn(
            session,
            turn_id=f"{conversation.id}-t",
            conversation_id=conversation.id,
            query=text,
            rewritten_query=text,
            messages=[{"role": "user", "content": text}],
            prompt_name="chat/system",
            prompt_hash="0",
        )
    with database.reading() as session:
        again = session.get_one(Turn, turn.id)
        assert (again.query, again.rewritten_query) == (text, text)
        assert again.messages == [{"role": "user", "content": text}]
        assert again.created_at == turn.created_at
        assert again.created_at.tzinfo is not None


def test_names_are_told_apart_to_the_letter(database: Database) -> None:
    with database.session() as session:
        ada, other = users.add_user(session, "Ada"), users.add_user(session, "ada")
        assert ada.id != other.id


def test_nothing_points_at_what_is_not_there(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.session() as session:
        session.add(Conversation(id="conv_x", user_id="usr_none", title="", split="train"))


def test_importing_the_record_opens_nothing() -> None:
    code = (
        "import sys, feedback.reads, feedback.record, feedback.users, feedback.adapters\n"
        "import feedback.runs, feedback.migrate, feedback.database\n"
        "theirs = {'serve', 'retrain', 'prompts', 'torch', 'flask', 'psycopg', 'pymysql'}\n"
        "sys.exit(str(theirs & set(sys.modules)) if theirs & set(sys.modules) else 0)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, os.listdir(folder)) == (0, []), done.stderr
    assert len(Table.metadata.tables) == 15
