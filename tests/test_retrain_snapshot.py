"""A snapshot is of one moment, whole, and says what is in it."""

from pathlib import Path
from typing import Any

import pytest
from retrain_rows import record_corrections

from feedback.database import open_database
from feedback.migrate import migrate
from feedback.reads import last_feedback_seq
from retrain import snapshot
from retrain.manifest import read_rows, sealed
from serve.settings import Settings


def test_it_holds_the_feedback_in_force_and_counts_it(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'redraft.db'}")
    migrate(database)
    record_corrections(database, "m", 3, heldout=2)
    record_corrections(database, "m", 1, user="ben")
    manifest = snapshot.freeze_snapshot(database, tmp_path / "s-0001", Settings())
    assert sealed(tmp_path / "s-0001") == manifest
    assert (manifest["rows"], manifest["users"]) == (6, 2)
    assert manifest["by_kind"] == {"correction": 6}
    assert manifest["by_split"] == {"heldout": 2, "train": 4}
    with database.reading() as session:
        assert manifest["last_feedback_seq"] == last_feedback_seq(session)
    rows = read_rows(tmp_path / "s-0001" / snapshot.ROWS)
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert {row["role"] for row in rows} == {"reviewer"}
    database.close()


def test_one_that_was_interrupted_does_not_count_and_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'redraft.db'}")
    migrate(database)
    record_corrections(database, "m", 2)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(snapshot, "seal", crash)
        snapshot.freeze_snapshot(database, tmp_path / "s-0001", Settings())
    assert sealed(tmp_path / "s-0001") is None
    record_corrections(database, "m", 1, user="ben")
    assert snapshot.freeze_snapshot(database, tmp_path / "s-0001", Settings())["rows"] == 3
    database.close()


def test_rows_written_meanwhile_wait_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'redraft.db'}")
    migrate(database)
    record_corrections(database, "m", 2)
    read = snapshot.rows_in_force

    def read_late(session: Any) -> Any:
        record_corrections(database, "m", 1, user="ben")
        return read(session)

    monkeypatch.setattr(snapshot, "rows_in_force", read_late)
    manifest = snapshot.freeze_snapshot(database, tmp_path / "s-0001", Settings())
    rows = read_rows(tmp_path / "s-0001" / snapshot.ROWS)
    assert len(rows) == 2 and rows[-1]["seq"] <= manifest["last_feedback_seq"]
    database.close()
