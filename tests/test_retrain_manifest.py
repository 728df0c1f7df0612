"""What exists is whole: files in one move, folders by a manifest that is written last."""

import os
from pathlib import Path
from typing import Any

import pytest

from retrain import manifest


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\nc", "n": 1}, {"text": "它"}]
    manifest.write_rows(tmp_path / "rows.jsonl", rows)
    assert manifest.read_rows(tmp_path / "rows.jsonl") == rows


def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "x.json"
    manifest.write_json(place, "old")

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        manifest.write_json(place, "new")
    assert manifest.read_json(place) == "old"


def test_a_folder_is_done_when_its_manifest_is_there_and_right(tmp_path: Path) -> None:
    folder = manifest.start_over(tmp_path / "step")
    (folder / "deep").mkdir()
    manifest.write_text(folder / "deep" / "a.txt", "a")
    assert manifest.sealed(folder) is None
    written = manifest.seal(folder, {"rows": 1})
    assert manifest.sealed(folder) == written
    assert list(written["files"]) == ["deep/a.txt"]


@pytest.mark.parametrize("damage", ["change", "remove", "truncate manifest"])
def test_a_damaged_folder_is_not_done(tmp_path: Path, damage: str) -> None:
    folder = manifest.start_over(tmp_path / "step")
    manifest.write_text(folder / "a.txt", "a")
    manifest.seal(folder, {})
    if damage == "change":
        (folder / "a.txt").write_text("b")
    elif damage == "remove":
        (folder / "a.txt").unlink()
    else:
        text = (folder / manifest.MANIFEST).read_text()
        (folder / manifest.MANIFEST).write_text(text[: len(text) // 2])
    assert manifest.sealed(folder) is None


def test_starting_over_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "half").write_text("x")
    assert list(manifest.start_over(tmp_path / "step").iterdir()) == []
