"""`redraft user forget` and `redraft db prune`: the files of runs, and what people are told."""

import io
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from retrain_rows import record_corrections

from feedback import adapters, runs, users
from feedback.database import Database
from feedback.moments import now
from feedback.tables import Conversation
from retrain import curate, schedule
from retrain.manifest import read_rows, seal, sealed, start_over, write_rows
from retrain.snapshot import ROWS, freeze_snapshot
from serve.cli import main
from serve.settings import Settings


def redraft(*arguments: str) -> int:
    try:
        main([*arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def a_run(settings: Settings, database: Database) -> list[Path]:
    """The folders of a run that ada and ben taught, and an adapter of it."""
    record_corrections(database, "m", 3, user="ada", text="Ada says {}.")
    record_corrections(database, "m", 2, user="ben", text="Ben says {}.")
    snapshot = settings.home / "snapshots" / "s-0001"
    freeze_snapshot(database, snapshot, settings)
    rows = read_rows(snapshot / ROWS)
    run = settings.home / "runs" / "r-0001"
    curated, recipe = (start_over(run / step) for step in ("curate", "recipe"))
    write_rows(curated / ROWS, rows)
    held = curate.curate([row | {"role": "user"} for row in rows], settings).quarantine
    write_rows(curated / "quarantine.jsonl", held)
    write_rows(recipe / "1-sft.jsonl", [{"feedback_id": row["feedback_id"]} for row in rows])
    gate = start_over(run / "gate")
    (gate / "report.html").write_text("<p>Ada says 1.</p>")
    (gate / "report.json").write_text("{}")
    for folder in (curated, recipe, gate):
        seal(folder, {"rows": len(rows)})
    with database.session() as session:
        claimed = runs.claim_run(session, {})
        claimed.last_feedback_seq = rows[-1]["seq"]
        runs.finish_run(session, claimed.id, "promoted", "")
        more: dict[str, Any] = {"base_model": "m", "path": "p", "digest": "0", "parent": None}
        adapters.register_adapter(session, name="a-0001-x", run_id=claimed.id, **more)
    assert all("Ada" in text_of(folder) for folder in (snapshot, curated))
    return [snapshot, curated, recipe]


def text_of(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("*.jsonl"))


def test_a_forgotten_user_is_in_no_file_of_a_run(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = a_run(settings, database)
    assert redraft("user", "forget", "ada", "--yes") == 0
    told = capsys.readouterr().out
    assert "the texts of 3 conversations, 3 turns and 3 rows of feedback are erased" in told
    assert told.rstrip().endswith("built on such a one:\n  a-0001-x")
    assert "Ada" not in "".join(map(text_of, folders)), told
    assert "Ben" in text_of(folders[0])
    for folder in folders:
        manifest = sealed(folder)
        assert manifest is not None and manifest["erased"] >= 3 and manifest["rows"] == 5
    assert len(read_rows(folders[2] / "1-sft.jsonl")) == 2
    gate = folders[2].parent / "gate"
    assert sealed(gate) and [p.name for p in sorted(gate.iterdir())] == [
        "manifest.json",
        "report.json",
    ]
    assert redraft("user", "list") == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["ben"]


def test_it_is_asked_before_and_unknown_users_are_named(
    settings: Settings,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_corrections(database, "m", 1, user="ada")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert redraft("user", "forget", "ada") == 1
    with database.reading() as session:
        assert users.known_user(session, "ada").forgotten_at is None
    assert redraft("user", "forget", "nobody", "--yes") == 1
    assert "There is no user nobody" in capsys.readouterr().err


def age(database: Database, days: float, but: int) -> None:
    """Make all conversations that old but so many."""
    with database.session() as session:
        for talk in session.scalars(sa.select(Conversation)).all()[but:]:
            talk.updated_at = now() - timedelta(days=days)


def test_old_conversations_are_pruned_by_hand_and_by_the_scheduler(
    settings: Settings,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = a_run(settings, database)
    assert redraft("db", "prune") == 0
    assert "REDRAFT_RETENTION_DAYS is 0" in capsys.readouterr().out
    age(database, 10, but=3)
    assert redraft("db", "prune", "--days", "9") == 0
    assert "Erased the texts of 2 conversations unused for 9 d." in capsys.readouterr().out
    assert len(read_rows(folders[0] / ROWS)) == 3
    monkeypatch.setenv("REDRAFT_RETENTION_DAYS", "20")
    age(database, 30, but=1)
    schedule.retention()
    assert len(read_rows(folders[0] / ROWS)) == 1


def test_consent_is_given_and_taken_by_command(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    record_corrections(database, "m", 2, user="ada")
    assert redraft("user", "consent", "ada", "off") == 0
    assert redraft("user", "list") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("\tno consent")
    assert freeze_snapshot(database, settings.home / "s", settings)["rows"] == 0
    assert redraft("user", "consent", "ada", "on") == 0
    assert freeze_snapshot(database, settings.home / "s", settings)["rows"] == 2
