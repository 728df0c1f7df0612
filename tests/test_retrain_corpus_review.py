"""What people say of the rows of a corpus, on a terminal or in a file, and what comes of it."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from retrain.corpus.check import check
from retrain.corpus.commands import group
from retrain.corpus.review import FILE, verdicts, waiting
from retrain.corpus.stage import CorpusError
from retrain.corpus.write import write
from retrain.manifest import read_json, read_rows, write_json, write_rows
from serve.settings import load_settings

SETTINGS: dict[str, Any] = {"holdout_share": 0.0}
SOURCE = "Descale the Velmar 300 every 3 months, with 120 g of citric acid."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus that was checked, whose rows are all to be looked at."""
    monkeypatch.setattr("retrain.corpus.check.REVIEWED", 1.0)
    rows = [
        {
            "id": f"q-{n}", "kind": "qa", "unit": "u-1", "document": "d-1", "source": "manual.md",
            "part": "", "theme": "Care", "question": question, "answer": answer, "model": "m",
            "prompt": "p",
        }
        for n, (question, answer) in enumerate([
            ("How many months between two descale runs of the Velmar 300?", "Every 3 months."),
            ("How much citric acid is that?", "120 g of citric acid."),
            ("What should I descale every 3 months?", "The Velmar 300."),
        ])
    ]  # fmt: skip
    write_rows(tmp_path / "answers.jsonl", rows)
    write_rows(tmp_path / "units.jsonl", [{"id": "u-1", "content": SOURCE, "theme": "Care"}])
    write_json(tmp_path / "generate.json", {"sha256": "x", "rows": len(rows)})
    assert check(tmp_path)["rows"] == len(rows)
    return tmp_path


def look(folder: Path, keys: str) -> str:
    done = CliRunner().invoke(
        group, ["review", "--into", str(folder), "--by", "ada"], input="\n".join(keys) + "\n"
    )
    assert done.exit_code == 0, done.output
    return done.output


def answers(folder: Path) -> list[str]:
    write(folder, load_settings(**SETTINGS))
    return [row["output"] for row in read_rows(folder / "dataset/alpaca.train.jsonl")]


def test_rows_are_kept_fixed_and_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(answers(folder)) == 3

    def edit(text: str, extension: str) -> str:
        return text.replace("120 g of citric acid", "120 g of citric acid; ask ada@velmar.com")

    monkeypatch.setattr(click, "edit", edit)
    told = look(folder, "kfd")
    assert "1 of 3: pairs from manual.md" in told and SOURCE in told and "0 rows wait" in told
    assert answers(folder) == ["Every 3 months.", "120 g of citric acid; ask [EMAIL]."]
    assert read_json(folder / "write.json")["reviewed"] == {"keep": 1, "fix": 1, "drop": 1}
    said = read_rows(folder / FILE)
    assert [(one["verdict"], one["by"]) for one in said] == [
        ("keep", "ada"), ("fix", "ada"), ("drop", "ada"),
    ]  # fmt: skip
    assert look(folder, "") == look(folder, "")  # there is nothing left to say


def test_what_was_said_stays_and_the_rest_waits(folder: Path) -> None:
    assert "2 rows wait" in look(folder, "skq")
    assert [row["id"] for row in waiting(folder)] == ["q-0", "q-2"]
    assert "1 of 2" in look(folder, "q")


def test_a_fix_that_changes_nothing_asks_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = iter([None, '{"answer": ""}', '{"answer": "Every three months."}'])
    monkeypatch.setattr(click, "edit", lambda text, extension: next(edits))
    told = look(folder, "fffq")
    assert "Nothing was changed." in told and "must be a text, and not empty" in told
    assert answers(folder)[0] == "Every three months."


def test_an_edit_that_is_no_json_can_be_opened_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = iter(['{"answer": ', '{"answer": "Each quarter."}'])
    monkeypatch.setattr(click, "edit", lambda text, extension: next(edits))
    assert "That is not JSON" in look(folder, "fyq")
    assert answers(folder)[0] == "Each quarter."


def test_the_last_verdict_of_a_row_counts_and_programs_may_write_it(folder: Path) -> None:
    lines = [{"id": "q-0", "verdict": "drop"}, {"id": "q-0", "verdict": "fix", "answer": "Often."},
             {"id": "q-gone", "verdict": "drop"}]  # fmt: skip
    (folder / FILE).write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert answers(folder) == ["Often.", "120 g of citric acid.", "The Velmar 300."]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2 is not JSON"),
        ('"q-1"', "line 2 names no row"),
        ('{"id": "q-1", "verdict": "good"}', "line 2 has the verdict 'good'; it is one of keep"),
    ],
)
def test_a_broken_line_is_named(folder: Path, line: str, why: str) -> None:
    (folder / FILE).write_text(f'{{"id": "q-0", "verdict": "keep"}}\n{line}\n')
    with pytest.raises(CorpusError, match=why):
        verdicts(folder)
    with pytest.raises(CorpusError, match=why):
        write(folder, load_settings(**SETTINGS))


def test_a_fix_without_a_text_of_the_row_is_named(folder: Path) -> None:
    (folder / FILE).write_text('{"id": "q-1", "verdict": "fix", "text": "?"}\n')
    with pytest.raises(CorpusError, match="fix of q-1 changes nothing: it needs one of question"):
        write(folder, load_settings(**SETTINGS))


def test_nothing_can_be_reviewed_before_it_is_checked(tmp_path: Path) -> None:
    done = CliRunner().invoke(group, ["review", "--into", str(tmp_path)])
    assert "Stage check is not done" in str(done.exception)
