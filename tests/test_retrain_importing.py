"""`redraft import`: what comes back of what went out, broken files, and other programs' files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from feedback_databases import BACKENDS, fresh_url
from test_retrain_export import WEIRD, Talk, export, load, tell

from feedback import reads, record, users
from feedback.database import Database, open_database
from feedback.migrate import migrate
from feedback.tables import Feedback, Turn, User
from retrain import forms
from retrain.files import read_file, write_file
from serve.cli import main

ROUND = [name for name in forms.readable() if name in forms.writable()]


@pytest.fixture
def elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Another, empty record, which commands work on from now on."""
    url = f"sqlite:///{home / 'elsewhere.db'}"
    monkeypatch.setenv("REDRAFT_DATABASE_URL", url)
    found = open_database(url)
    migrate(found)
    yield found
    found.close()


def bring(*arguments: object) -> int:
    """The exit code of `redraft import`."""
    try:
        main(["import", *map(str, arguments)])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def rows_of(path: Path) -> list[dict[str, Any]]:
    return sorted((found.row or {} for found in read_file(path)), key=repr)


def count(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Feedback)) or 0


def source_of(database: Database, ada: User) -> Talk:
    """A record with feedback of every kind and a thumb of each direction."""
    tell(database, ada)
    tell(database, ada, heldout=True)
    talk = Talk(database, ada)
    talk.said = [{"role": "system", "content": f"Be brief. {WEIRD}"}]
    _, (good,) = talk.turn("yes \n indeed", query="Is it?")
    _, (bad,) = talk.turn("no", query="Is it not?")
    talk.say("rating", completion_id=good, value=1, tags=["clear"], comment="fine")
    talk.say("rating", completion_id=bad, value=-1, tags=["wrong_fact"])
    return talk


@pytest.mark.parametrize(
    ("name", "suffix"), [*((name, "jsonl") for name in ROUND), ("sft", "json"), ("grpo", "parquet")]
)
def test_a_round_trip_loses_nothing_and_a_second_import_adds_nothing(
    name: str, suffix: str, database: Database, ada: User, home: Path, monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source_of(database, ada)
    out, back = home / f"out.{suffix}", home / f"back.{suffix}"
    assert export(name, out, "--split", "all") == 0
    sent = rows_of(out)
    assert len(sent) >= 2
    url = f"sqlite:///{home / 'elsewhere.db'}"
    monkeypatch.setenv("REDRAFT_DATABASE_URL", url)
    other = open_database(url)
    migrate(other)
    capsys.readouterr()
    assert bring(name, out) == 0
    assert f"{len(sent)} added, 0 skipped" in capsys.readouterr().err
    assert bring(name, out) == 0
    assert f"0 added, {len(sent)} here already, 0 skipped" in capsys.readouterr().err
    assert export(name, back, "--split", "all") == 0
    returned = rows_of(back)
    other.close()
    if name == "label-studio":  # ids of feedback are each record's own
        for row in [*sent, *returned]:
            del row["data"]["redraft"]["feedback_id"], row["data"]["redraft"]["turn_id"]
        sent, returned = sorted(sent, key=repr), sorted(returned, key=repr)
    if forms.source(name) == "sft":  # what one user stands for twice counts once in a split
        sent, returned = ([*map(repr, rows)] for rows in (sent, returned))  # type: ignore[misc]
        assert set(returned) == set(sent)
        return
    assert returned == sent


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_database_takes_and_gives(
    backend: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [{"role": "user", "content": f"q {WEIRD}"}]
    rows = [
        {
            "prompt": said,
            "chosen": [{"role": "assistant", "content": f"a{n % 5}"}],
            "rejected": [{"role": "assistant", "content": "b"}],
        }
        for n in range(10)
    ]
    write_file(home / "rows.jsonl", rows)
    with fresh_url(backend) as url:
        monkeypatch.setenv("REDRAFT_DATABASE_URL", url)
        other = open_database(url)
        migrate(other)
        for _ in range(2):
            assert bring("preference", home / "rows.jsonl") == 0
        assert count(other) == 10
        other.close()
        assert export("preference", home / "back.jsonl", "--split", "all") == 0
    assert rows_of(home / "back.jsonl") == rows_of(home / "rows.jsonl")


def test_the_record_that_wrote_a_file_has_it_already(
    database: Database, ada: User, home: Path
) -> None:
    source_of(database, ada)
    before = count(database)
    for name in ("sft", "preference", "grpo", "rewriter", "label-studio"):
        file = home / f"{name}.json"
        assert export(name, file, "--split", "all", "--all-columns") == 0
        assert bring(name, file, "--dry-run") == 0
        assert bring(name, file) == 0
    assert count(database) == before


def test_a_split_that_is_told_is_kept(
    database: Database, ada: User, home: Path, elsewhere: Any
) -> None:
    rows = [
        {"prompt": f"q{n}", "completion": "a", "split": "heldout" if n % 2 else "train"}
        for n in range(10)
    ]
    write_file(home / "rows.jsonl", rows)
    assert bring("sft", home / "rows.jsonl") == 0
    with elsewhere.reading() as session:
        for row in reads.training_rows(session):
            odd = int(row["messages"][0]["content"][1:]) % 2
            assert row["split"] == ("heldout" if odd else "train")


BROKEN = {
    "sft": ({"prompt": "q", "completion": "a"}, [
        ({"prompt": "q"}, "completion is missing; it has prompt"),
        ({"prompt": [], "completion": "a"}, "prompt is []; it must be messages"),
        ({"prompt": "q", "completion": " "}, "completion is empty"),
        ({"prompt": "q\0", "completion": "a"}, "holds a NUL character"),
        ({"prompt": [{"role": "boss", "content": "q"}], "completion": "a"}, "no message with a ro"),
        ({"messages": [{"role": "user", "content": "q"}]}, "no question and answer"),
    ]),
    "preference": ({"prompt": "q", "chosen": "a", "rejected": "b"}, [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        ({"prompt": "q", "chosen": 5, "rejected": "a"}, "chosen is 5; it must be one message or"),
    ]),
    "kto": ({"prompt": "q", "completion": "a", "label": True}, [
        ({"prompt": "q", "completion": "a", "label": "yes"}, "it must be true or false"),
    ]),
    "alpaca": ({"instruction": "q", "output": "a", "history": [["b", "c"]]}, [
        ({"instruction": "q", "output": "a", "history": ["b"]}, "pairs of question and answer"),
    ]),
    "grpo": (
        {"prompt": "q", "completions": [{"text": "a", "reward": 1}, {"text": "b", "reward": 0}]}, [
        ({"prompt": "q", "completions": [{"text": "a", "reward": 1}] * 2}, "highest reward"),
        ({"prompt": "q", "completions": [{"text": "a"}] * 2}, "reward is missing"),
    ]),
    "rewriter": (
        {"history": [{"role": "user", "content": "x"}], "query": "he?", "rewrite": "who?"}, [
        ({"history": "x", "query": "he?", "rewrite": "who?"}, "it must be messages"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [(name, wrong, words) for name, (_, found) in BROKEN.items() for wrong, words in found],
)
def test_a_broken_line_is_named_and_nothing_is_imported(
    name: str, wrong: Any, words: str, home: Path, elsewhere: Database,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    good = BROKEN[name][0]
    key = next(iter(good))
    rows = [{**good, "n": n} for n in range(9)]
    rows[6] = wrong
    assert key in good
    write_file(home / "rows.jsonl", rows)
    assert bring(name, home / "rows.jsonl") == 1
    told = capsys.readouterr().err
    assert "1 rows cannot be read, and nothing was imported:\n  line 7: " in told
    assert words in told and "--skip-broken" in told
    assert count(elsewhere) == 0
    assert bring(name, home / "rows.jsonl", "--skip-broken") == 0
    told = capsys.readouterr().err
    assert told.startswith("Skipped line 7: ") and words in told
    assert "8 added, 1 skipped" in told
    assert count(elsewhere) == 8


@pytest.mark.parametrize("line", ["{", "[]x", '"text"', "NaN", '{"prompt": NaN}', "\ufeff"])
def test_a_line_that_is_no_row_is_named(
    line: str, home: Path, elsewhere: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [json.dumps({"prompt": f"q{n}", "completion": "a"}) for n in range(8)]
    (home / "rows").write_text("\n".join([*good[:6], line, *good[6:]]) + "\n")
    assert bring("sft", home / "rows") == 1
    assert "line 7: it is no" in capsys.readouterr().err
    assert count(elsewhere) == 0


def test_files_that_are_something_else_are_told(
    home: Path, elsewhere: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "a.parquet").write_text("no")
    (home / "b.json").write_text("[{]")
    (home / "c").write_bytes(b"\xff\xfe\x00{")
    for name, words in (("a.parquet", "no Parquet"), ("b.json", "not JSON"), ("c", "not UTF-8")):
        assert bring("sft", home / name) == 1
        assert words in capsys.readouterr().err


def test_a_reason_of_each_thumb_and_everything_else_survives_the_annotation_tool(
    database: Database, ada: User, home: Path, elsewhere: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("REDRAFT_DATABASE_URL", f"sqlite:///{home / 'redraft.db'}")
    source_of(database, ada)
    assert export("label-studio", home / "tasks.json", "--split", "all") == 0
    monkeypatch.setenv("REDRAFT_DATABASE_URL", f"sqlite:///{home / 'elsewhere.db'}")
    assert bring("label-studio", home / "tasks.json") == 0
    said = []
    for record_ in (database, elsewhere):
        with record_.reading() as session:
            rows = list(reads.training_rows(session))
        known = ("kind", "messages", "query", "rewritten_query", "split", "created_at", "position")
        said.append(
            sorted(
                repr([[row[name] for name in known], row["payload"].get("tags"),
                      [c["text"] for c in row["completions"]], row["payload"].get("text")])
                for row in rows
            )
        )  # fmt: skip
    assert said[0] == said[1]


def test_annotations_come_back_as_reviews(
    database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source_of(database, ada)
    assert export("label-studio", home / "tasks.json", "--split", "all") == 0
    tasks = json.loads((home / "tasks.json").read_text())
    assert {"conversation", "answer", "said", "redraft"} == set(tasks[0]["data"])

    def annotated(task: Any, verdict: str, fix: str | None = None, **more: Any) -> Any:
        result = [{"from_name": "verdict", "to_name": "answer", "type": "choices",
                   "value": {"choices": [verdict]}}]  # fmt: skip
        if fix:
            value = {"text": [fix]}
            result.append({"from_name": "fix", "to_name": "answer", "type": "textarea",
                           "value": value})  # fmt: skip
        return {
            **task,
            "id": 7,
            "annotations": [{"result": result, "was_cancelled": False, **more}],
        }

    done = [annotated(tasks[0], "drop"), annotated(tasks[1], "fix", "Better."), *tasks[2:]]
    done[2] = annotated(done[2], "keep", was_cancelled=True)
    (home / "done.json").write_text(json.dumps(done))
    capsys.readouterr()
    assert bring("label-studio", home / "done.json") == 0
    told = capsys.readouterr().err
    assert "0 added, 2 reviewed" in told and f"{len(done) - 2} here already" in told
    assert bring("label-studio", home / "done.json") == 0
    assert f"0 added, {len(done)} here already" in capsys.readouterr().err
    with database.reading() as session:
        found = {row["feedback_id"]: row["review"] for row in reads.training_rows(session)}
    ids = [task["data"]["redraft"]["feedback_id"] for task in done]
    assert [(found[id] or {}).get("verdict") for id in ids[:3]] == ["drop", "fix", None]
    (home / "done.json").write_text(json.dumps([annotated(tasks[0], "maybe")]))
    assert bring("label-studio", home / "done.json") == 1
    assert "element 1: an annotation's verdict is 'maybe'" in capsys.readouterr().err


def chat(*messages: tuple[str, str | None, str, str]) -> dict[str, Any]:
    """Open WebUI's snapshot of (id, parent, role, content)."""
    found = {
        id: {"id": id, "parentId": parent, "childrenIds": [], "role": role, "content": content,
             **({"model": f"model-{id}", "done": True} if role == "assistant" else {})}
        for id, parent, role, content in messages
    }  # fmt: skip
    inner = {"title": "Lamps", "history": {"messages": found, "currentId": messages[-1][0]}}
    return {"chat": {"id": "chat-1", "user_id": "u1", "title": "Lamps", "chat": inner}}


def webui(id: str, user: str, rating: object, message: str, snapshot: Any, **more: Any) -> Any:
    data = {"rating": rating, "model_id": "m", "sibling_model_ids": None, "reason": "", "tags": [],
            "comment": "", **more.pop("data", {})}  # fmt: skip
    meta = {"arena": False, "chat_id": "chat-1", "message_id": message, **more}
    return {"id": id, "user_id": user, "version": 0, "type": "rating", "data": data, "meta": meta,
            "snapshot": snapshot, "created_at": 1730000000, "updated_at": 1730000001}  # fmt: skip


def test_a_team_brings_its_thumbs_from_open_webui(
    home: Path, elsewhere: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = chat(
        ("1", None, "user", "How long is the warranty?"),
        ("2", "1", "assistant", "Two years."),
        ("3", "2", "user", "And of the bulb?"),
        ("4", "3", "assistant", "Ten days."),
        ("5", "3", "assistant", "One year."),
    )
    why = {"reason": "not_factually_correct", "comment": "It is three.", "tags": ["lamps"]}
    file = home / "feedback-export.json"
    file.write_text(json.dumps([
        webui("f1", "u1", -1, "2", talk, data=why),
        webui("f2", "u1", "1", "5", talk, data={"reason": "being_kind"}),
        webui("f3", "u2", 1, "4", talk, arena=True),
    ]))  # fmt: skip
    assert bring("open-webui", file) == 0
    assert "3 added, 0 skipped" in capsys.readouterr().err
    assert bring("open-webui", file) == 0
    assert "0 added, 3 here already" in capsys.readouterr().err
    with elsewhere.reading() as session:
        down, up, pick = reads.training_rows(session)
        names = {user.name: user.role for user in users.list_users(session)}
    assert down["payload"] == {
        "value": -1,
        "tags": ["wrong_fact", "lamps"],
        "comment": "It is three.",
    }
    assert [m["content"] for m in up["messages"]] == [
        "How long is the warranty?", "Two years.", "And of the bulb?",
    ]  # fmt: skip
    assert up["payload"] == {"value": 1, "tags": [], "comment": "being_kind"}
    assert up["completions"][0]["base_model"] == "model-5"
    assert up["created_at"] == "2024-10-27T03:33:20.000000Z"
    assert pick["kind"] == "comparison"
    assert [c["text"] for c in pick["completions"]] == ["Ten days.", "One year."]
    assert pick["payload"]["chosen"] == pick["completions"][0]["id"]
    assert down["user_id"] == up["user_id"] != pick["user_id"]
    assert sorted(names.values()) == ["reviewer", "user", "user"]
    assert down["conversation_id"] == up["conversation_id"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data": {"rating": 0}}, "data.rating is 0; it must be 1 or -1"),
        ({"snapshot": None}, "snapshot has no messages"),
        ({"meta": {"message_id": "9"}}, "snapshot has no answer '9'"),
        ({"meta": {"message_id": "1"}}, "snapshot has no answer '1'"),
        ({"snapshot": chat(("2", "7", "assistant", "x"))}, "the chain of messages breaks at '7'"),
        ({"snapshot": chat(("2", None, "assistant", "x"))}, "nobody asked what was answered"),
    ],
)
def test_a_broken_thumb_of_open_webui_is_named(
    changed: Any, words: str, home: Path, elsewhere: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    row = webui("f1", "u1", 1, "2", chat(("1", None, "user", "q"), ("2", "1", "assistant", "a")))
    (home / "f.json").write_text(json.dumps([row, row | changed]))
    assert bring("open-webui", home / "f.json") == 1
    told = capsys.readouterr().err
    assert "element 2: " in told and words in told
    assert count(elsewhere) == 0


def test_who_was_forgotten_does_not_come_back(home: Path, elsewhere: Database) -> None:
    from feedback.erasure import forget_user

    write_file(home / "rows", [{"prompt": "q", "completion": "a"}])
    assert bring("sft", home / "rows", "--user", "zoe") == 0
    forget_user(elsewhere, "zoe")
    assert bring("sft", home / "rows", "--user", "zoe") == 0
    with elsewhere.reading() as session:
        assert list(reads.training_rows(session)) == []
        assert set(session.scalars(sa.select(Turn.query))) == {""}


class TestReaders:
    """Each format through the program that is to read it."""

    def test_llama_factory_finds_its_columns(
        self, database: Database, ada: User, home: Path
    ) -> None:
        source_of(database, ada)
        assert export("alpaca", home / "alpaca.json", "--split", "all") == 0
        loaded = load(home / "alpaca.json", home / "cache")
        assert set(loaded.column_names) == {"instruction", "input", "output", "system", "history"}
        rows = {row["instruction"]: row for row in loaded}
        asked = rows["Is it?"]
        assert asked["system"].startswith("Be brief.") and asked["history"] == []
        assert rows["How old is Ibn Sina?"]["history"] == [
            ["Who was Ibn Sina?", "Something about him."]
        ]
        assert all(isinstance(row["input"], str) for row in loaded)

    def test_trl_reads_whole_conversations(
        self, database: Database, ada: User, home: Path, tiny_model: Path
    ) -> None:
        from transformers import AutoTokenizer
        from trl import apply_chat_template, is_conversational

        source_of(database, ada)
        assert export("messages", home / "rows.parquet", "--split", "all") == 0
        from datasets import Dataset

        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        loaded = Dataset.from_parquet(str(home / "rows.parquet"), cache_dir=str(home / "cache"))
        assert len(loaded) >= 3
        for row in loaded:
            assert is_conversational(row)
            said = apply_chat_template(row, tokenizer)["text"]
            assert row["messages"][-1]["content"] in said

    @pytest.mark.parametrize("name", ["sft", "preference", "grpo", "rewriter"])
    def test_parquet_has_the_rows_of_json_lines(
        self, name: str, database: Database, ada: User, home: Path
    ) -> None:
        from datasets import Dataset

        source_of(database, ada)
        for suffix in ("jsonl", "parquet"):
            assert export(name, home / f"rows.{suffix}", "--all-columns") == 0
        file = str(home / "rows.parquet")
        assert len(Dataset.from_parquet(file, cache_dir=str(home / "cache"))) > 0
        assert rows_of(home / "rows.parquet") == [
            json.loads(json.dumps(row)) for row in rows_of(home / "rows.jsonl")
        ]


class TestFilters:
    def test_time_adapter_role_and_kind(
        self, database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with database.session() as session:
            eve = users.add_user(session, "eve", "reviewer")
        mine, theirs = Talk(database, ada), Talk(database, eve)
        _, (one,) = mine.turn("one", adapter="a-0001-x")
        _, (two,) = theirs.turn("two")
        old = mine.say("rating", completion_id=one, value=1)
        theirs.say("correction", completion_id=two, text="Two.")
        with database.session() as session:
            from datetime import UTC, datetime

            row = session.scalars(sa.select(Feedback).where(Feedback.id == old)).one()
            row.created_at = datetime(2026, 1, 2, tzinfo=UTC)

        def answers(*filters: str) -> set[str]:
            file = home / "rows.jsonl"
            code = export("sft", file, "--force", *filters)
            return {r["completion"][0]["content"] for r in rows_of(file)} if code == 0 else set()

        assert answers() == {"one", "Two."}
        assert answers("--adapter", "a-0001-x") == {"one"}
        assert answers("--role", "reviewer") == {"Two."}
        assert answers("--kind", "rating") == {"one"}
        assert answers("--kind", "rating", "--kind", "correction") == {"one", "Two."}
        assert answers("--since", "2026-01-03") == {"Two."}
        assert answers("--until", "2026-01-03") == {"one"}
        assert answers("--since", "2026-01-02", "--until", "2026-01-02T00:00:01") == {"one"}
        assert answers("--until", "2026-01-02") == set()
        assert export("sft", home / "x", "--since", "tomorrow") == 2
        assert "Write a day or a moment" in capsys.readouterr().err

    def test_a_verdict_that_is_not_asked_for_still_counts_against_another(
        self, database: Database, ada: User, home: Path
    ) -> None:
        talk = Talk(database, ada)
        _, (one,) = talk.turn("one")
        talk.say("rating", completion_id=one, value=1)
        talk.say("correction", completion_id=one, text="Better.")
        assert export("sft", home / "rows", "--kind", "rating") == 4

    def test_personal_data_is_masked_and_reviews_are_heard(
        self, database: Database, ada: User, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with database.session() as session:
            eve = users.add_user(session, "eve", "reviewer")
        talk = Talk(database, ada)
        _, (one,) = talk.turn("a@example.org is it")
        _, (two,) = talk.turn("nonsense")
        talk.say("rating", completion_id=one, value=1)
        dropped = talk.say("rating", completion_id=two, value=1)
        with database.session() as session:
            review = {"kind": "review", "feedback_id": dropped, "verdict": "drop"}
            record.record_feedback(session, eve, review)
        assert export("sft", home / "rows") == 0
        (row,) = rows_of(home / "rows")
        assert row["completion"][0]["content"] == "[EMAIL] is it"
        monkeypatch.setenv("REDRAFT_MASK_PII", "off")
        assert export("sft", home / "rows", "--force") == 0
        (row,) = rows_of(home / "rows")
        assert row["completion"][0]["content"] == "a@example.org is it"
