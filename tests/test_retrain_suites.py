"""Files of questions with known answers, and the command that asks them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from feedback import adapters
from feedback.database import open_database
from feedback.errors import DatabaseBehind
from feedback.migrate import downgrade, migrate
from retrain.evaluate.suites import SuiteError, answered, chosen, read_suite, shipped
from retrain.manifest import read_rows
from retrain.suite_commands import command
from serve.engines.echo import EchoEngine
from serve.settings import load_settings


class Liking(EchoEngine):
    """Engine echo that finds texts with "right" in them likelier, with no adapter."""

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        liked = "right" in self.decode(completion_ids) and adapter is None
        return [-0.5 if liked else -1.0] * len(completion_ids)


def file(folder: Path, *rows: object) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_what_ships_can_be_read_and_is_trained_on_nowhere(path: Path) -> None:
    from retrain.trainers._replay import QUESTIONS

    rows = read_suite(path)
    asked = [row["question"] for row in rows]
    assert len(rows) >= 20 and len(set(asked)) == len(asked) and not set(asked) & set(QUESTIONS)
    places = {row["answer"] for row in rows if "choices" in row}
    assert not places or len(places) > 2, "the right one stands in every place"


def test_choices_are_scored_and_texts_are_searched(tmp_path: Path) -> None:
    choice = {"question": "q", "choices": ["wrong one", "the right one"]}
    path = file(
        tmp_path,
        choice | {"answer": 1},
        choice | {"answer": 0},
        {"question": "/say It is PARIS.", "accept": ["london", r"\bparis\b"]},
        {"question": "/say Comparison.", "accept": [r"\bparis\b"]},
    )
    assert answered(Liking("m"), read_suite(path), None) == [True, False, True, False]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q"},
        {"question": "q", "accept": "paris"},
        {"question": "q", "accept": ["("]},
        {"question": "q", "choices": ["a"], "answer": 1},
        {"choices": ["a"], "answer": 0},
        [],
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, row: object) -> None:
    good = {"question": "q", "accept": ["a"]}
    with pytest.raises(SuiteError, match=r"questions.jsonl, row 2 is not \{question"):
        read_suite(file(tmp_path, good, row))


def test_a_setting_means_a_file_a_folder_or_what_ships(tmp_path: Path) -> None:
    path = file(tmp_path, {"question": "q", "accept": ["a"]})
    assert chosen("") == {}
    assert chosen(str(path)) == chosen(str(tmp_path)) == {"questions": read_suite(path)}
    assert [*chosen("shipped")] == [one.stem for one in shipped()]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match=r"has no file named \*.jsonl"):
        chosen(str(tmp_path / "empty"))
    with pytest.raises(SuiteError, match="nowhere"):
        chosen(str(tmp_path / "nowhere"))


def test_the_command_asks_the_base_model_where_nothing_serves_and_names_a_missing_adapter(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    monkeypatch.setenv("REDRAFT_MODEL", str(tiny_model))
    path = file(tmp_path, {"question": "q", "accept": [""]}, {"question": "q", "accept": ["\x00"]})
    done = CliRunner().invoke(command, [str(path), "--json"])
    assert done.exit_code == 0, done.output
    (told,) = map(json.loads, done.output.splitlines())
    assert told == {
        "file": "questions.jsonl",
        "adapter": "base",
        "right": 1,
        "rows": 2,
        "share": 0.5,
        "won": 0,
        "lost": 0,
    }
    missing = CliRunner().invoke(command, [str(path), "--adapter", "a-0009"])
    assert missing.exit_code == 1 and "There is no adapter a-0009" in missing.output
    assert read_rows(path)


def test_the_command_says_which_were_won_and_lost_beside_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    folder = tmp_path / "adapters" / "a-0001"
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    engine = Liking("echo")
    monkeypatch.setattr("retrain.work.open_judging", lambda *_: engine)
    path = file(
        tmp_path,
        {"question": "lost", "choices": ["wrong", "right"], "answer": 1},
        {"question": "won", "choices": ["plain", "right"], "answer": 0},
        {"question": "both", "choices": ["x", "y"], "answer": 0},
    )
    asked = [str(path), "--adapter", "base", "--adapter", "a-0001"]
    done = CliRunner().invoke(command, asked)
    assert done.exit_code == 0, done.exception
    assert done.output.splitlines() == [
        "questions: base 2 of 3 right (67%)",
        "questions: a-0001 2 of 3 right (67%); 1 won, 1 lost",
    ]


def test_the_command_asks_what_serves_and_wants_no_record_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    path = file(tmp_path, {"question": "q", "accept": ["a"]})
    database = open_database(f"sqlite:///{tmp_path / 'redraft.db'}")
    try:
        migrate(database)
        with database.session() as session:
            adapters.register_adapter(
                session, name="a-0001", base_model=load_settings().model, path="", digest=""
            )
            adapters.set_champion(session, "a-0001", "operator", "by hand")
        serving = CliRunner().invoke(command, [str(path)])
        assert serving.exit_code == 1 and "There is no adapter a-0001" in serving.output
        downgrade(database, "0009")
        older = CliRunner().invoke(command, [str(path)])
        assert isinstance(older.exception, DatabaseBehind)
    finally:
        database.close()
