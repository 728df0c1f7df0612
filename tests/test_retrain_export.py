"""`redraft export`: what is in the file, who can read it, and when there is none."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from feedback import record
from feedback.database import Database
from feedback.ids import new_id
from feedback.tables import User
from retrain import datasets, manifest
from retrain.manifest import read_rows
from retrain.rewriter import read_data
from retrain.rewriter_rows import dialogue_of, source_of, split
from serve.cli import main

COLUMNS = {
    "sft": {"prompt", "completion"},
    "preference": {"prompt", "chosen", "rejected"},
    "kto": {"prompt", "completion", "label"},
    "grpo": {"prompt", "temperature", "completions"},
    "rewriter": {"id", "history", "query", "rewrite"},
}
WEIRD = "héllo 世界 \u2028 \U0001f600"


class Talk:
    """A conversation that is held, and judged, turn by turn."""

    def __init__(self, database: Database, user: User, heldout: bool = False) -> None:
        self.database, self.user = database, user
        self.said: list[dict[str, str]] = []
        with database.session() as session:
            share = 1.0 if heldout else 0.0
            self.id = record.start_conversation(session, user.id, "t", share).id

    def turn(
        self, *answers: str, query: str = "And he?", rewritten: str | None = None, **own: Any
    ) -> tuple[str, list[str]]:
        """(turn, drafts) of the next question."""
        messages = [*self.said, {"role": "user", "content": rewritten or query}]
        with self.database.session() as session:
            turn = record.record_turn(
                session,
                turn_id=new_id("turn"),
                conversation_id=self.id,
                query=query,
                rewritten_query=rewritten,
                messages=messages,
                prompt_name="chat/system",
                prompt_hash="h1",
            )
            drafts = [_draft(number, text, own) for number, text in enumerate(answers)]
            for draft in drafts:
                record.record_completion(session, turn_id=turn.id, **draft)
        self.said += [
            {"role": "user", "content": query},
            {"role": "assistant", "content": answers[0]},
        ]
        return turn.id, [draft["completion_id"] for draft in drafts]

    def say(self, kind: str, **body: Any) -> str:
        with self.database.session() as session:
            return record.record_feedback(session, self.user, {"kind": kind, **body}).id


def _draft(number: int, text: str, own: dict[str, Any]) -> dict[str, Any]:
    return {
        "completion_id": new_id("cmpl"),
        "draft": number,
        "text": text,
        "token_ids": [1, 2],
        "logprobs": [-0.5, -0.25],
        "adapter": "base",
        "base_model": "m",
        "engine": "transformers",
        "sampling": {"temperature": 0.7},
        "prompt_hash": "h1",
        "prompt_tokens": 9,
        "finish_reason": "stop",
        **own,
    }


def tell(database: Database, user: User, heldout: bool = False) -> Talk:
    """Turns with a word of every kind.

    Two rows of sft and of rewriter, one of kto, a group, three pairs: the correction, and each
    other draft of the comparison.
    """
    talk = Talk(database, user, heldout)
    _, (first,) = talk.turn("Something about him.", query="Who was Ibn Sina?")
    talk.say("correction", completion_id=first, text=f"A physician. {WEIRD}")
    turn, drafts = talk.turn("a", "b", "c", query="How old?", rewritten="How old is Ibn Sina?")
    talk.say("comparison", turn_id=turn, shown=drafts, chosen=drafts[1])
    talk.say("rewrite", turn_id=turn, value=1)
    turn, (last,) = talk.turn("d", query="And then?", rewritten="And what did Ibn Sina do then?")
    talk.say("rating", completion_id=last, value=-1)
    talk.say("rewrite", turn_id=turn, value=-1, text=f"What came after Ibn Sina? {WEIRD}")
    return talk


def export(*arguments: object) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, arguments)])
    return int(ended.value.code or 0)


def load(file: Path, cache: Path) -> Any:
    """The rows, as a trainer's script loads them."""
    from datasets import load_dataset

    return load_dataset("json", data_files=str(file), split="train", cache_dir=str(cache))


def test_every_format_is_covered_here() -> None:
    assert sorted(COLUMNS) == datasets.names()


@pytest.mark.parametrize("name", datasets.names())
def test_an_export_loads_and_has_only_the_columns_that_trainers_know(
    name: str, database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(database, ada)
    tell(database, ada)
    file = home / f"{name}.jsonl"
    assert export(name, file) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    loaded = load(file, home / "cache")
    assert set(loaded.column_names) == COLUMNS[name]
    assert loaded.to_list() == read_rows(file)
    assert printed.err.startswith(f"{len(loaded)} {name} rows (")
    assert str(file) in printed.err


def test_kinds_are_counted(
    database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(database, ada)
    assert export("preference", home / "pairs.jsonl") == 0
    assert "3 preference rows (1 correction, 2 pick) in" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sft", "preference", "kto"])
def test_trl_reads_it_as_conversations(
    name: str, database: Database, ada: User, home: Path, tiny_model: Path
) -> None:
    from transformers import AutoTokenizer
    from trl import apply_chat_template, is_conversational

    tell(database, ada)
    file = home / "rows.jsonl"
    assert export(name, file) == 0
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for row in load(file, home / "cache"):
        assert is_conversational(row)
        said = row.get("completion") or row["chosen"]
        assert [set(message) for message in row["prompt"] + said] == [{"role", "content"}] * (
            len(row["prompt"]) + 1
        )
        made = apply_chat_template(row, tokenizer)
        assert said[0]["content"] in (made.get("completion") or made["chosen"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")
def test_trl_learns_online_by_what_a_reward_finds_of_the_reference(
    database: Database, ada: User, home: Path, tiny_model: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    tell(database, ada)
    assert export("prompt-only", home / "rows.jsonl") == 0
    rows = load(home / "rows.jsonl", home / "cache")
    seen: set[str] = set()

    def reward(completions: list[Any], reference: list[str], **_: Any) -> list[float]:
        seen.update(reference)
        return [float(len(said[0]["content"])) for said in completions]

    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_model),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(home / "out"),
            max_steps=2,
            num_generations=2,
            per_device_train_batch_size=2,
            max_completion_length=4,
            use_cpu=True,
            bf16=False,
            report_to=[],
        ),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )
    trainer.train()
    assert seen and seen <= set(rows["reference"])


def test_a_rewriter_is_trained_from_it(database: Database, ada: User, home: Path) -> None:
    tell(database, ada)
    tell(database, ada)
    file = home / "follow-ups.jsonl"
    assert export("rewriter", file) == 0
    rows = read_data([file])
    assert [row["rewrite"] for row in rows[:2]] == [
        "How old is Ibn Sina?",
        f"What came after Ibn Sina? {WEIRD}",
    ]
    assert rows[0]["history"] == [
        {"role": "user", "content": "Who was Ibn Sina?"},
        {"role": "assistant", "content": "Something about him."},
    ]
    assert [dialogue_of(row) for row in rows].count(dialogue_of(rows[0])) == 2
    assert len({row["id"] for row in rows}) == 4
    assert {source_of(row) for row in rows} == {"feedback"}
    assert sum(map(len, split(rows, 0.1))) == 4


def test_held_out_conversations_are_left_out_unless_asked_for(
    database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(database, ada)
    tell(database, ada, heldout=True)
    tell(database, ada, heldout=True)
    written = {}
    for part in ("train", "heldout", "all"):
        file = home / part
        assert export("sft", file, "--split", part, "--all-columns") == 0
        written[part] = read_rows(file)
    assert [len(rows) for rows in written.values()] == [2, 2, 4]  # a user's text counts once
    assert {row["split"] for row in written["train"]} == {"train"}
    assert {row["split"] for row in written["heldout"]} == {"heldout"}
    in_parts = [*map(repr, written["train"] + written["heldout"])]
    assert sorted(map(repr, written["all"])) == sorted(in_parts)
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("2 of split heldout are left out: --split all.")
    assert told[1].endswith("2 of split train are left out: --split all.")
    assert "left out" not in told[2]
    assert export("sft", home / "default") == 0
    assert len(read_rows(home / "default")) == 2


def test_only_feedback_in_force_counts(database: Database, ada: User, home: Path) -> None:
    talk = Talk(database, ada)
    _, (kept,) = talk.turn("kept")
    _, (twice,) = talk.turn("twice")
    _, (back,) = talk.turn("back")
    talk.say("rating", completion_id=kept, value=1)
    talk.say("rating", completion_id=twice, value=1)
    talk.say("rating", completion_id=twice, value=-1)
    withdrawn = talk.say("rating", completion_id=back, value=1)
    gone = tell(database, ada)
    with database.session() as session:
        record.withdraw_feedback(session, ada, withdrawn)
        record.delete_conversation(session, ada, gone.id)
    assert export("sft", home / "rows") == 0
    assert [row["completion"][0]["content"] for row in read_rows(home / "rows")] == ["kept"]


def test_answers_that_were_cut_off_are_left_out_or_marked(
    database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = Talk(database, ada)
    _, (whole,) = talk.turn("whole")
    _, (torso,) = talk.turn("tor", finish_reason="length")
    _, (stopped,) = talk.turn("sto", stopped_by="\n\n")
    for completion in (whole, torso, stopped):
        talk.say("rating", completion_id=completion, value=1)
    assert export("sft", home / "plain") == 0
    assert len(read_rows(home / "plain")) == 1
    assert "2 with answers that were cut off are left out: --all-columns" in capsys.readouterr().err
    assert export("sft", home / "all", "--all-columns") == 0
    rows = read_rows(home / "all")
    assert [row["completion"][0]["finish_reason"] for row in rows] == ["stop", "length", "length"]
    assert set(rows[0]) - COLUMNS["sft"] == {"feedback_id", "signal", "split", "weight"}
    assert export("label-studio", home / "tasks.json") == 0
    tasks = json.loads((home / "tasks.json").read_text())
    told = [task["data"]["redraft"]["completions"][0]["finish_reason"] for task in tasks]
    assert told == ["stop", "length", "length"], "who reads them back knows no stop strings"


def test_parts_of_answers_are_left_out_or_marked(
    database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = Talk(database, ada)
    _, (whole,) = talk.turn("whole")
    _, (first,) = talk.turn("42 ", stopped_by="####")
    with database.session() as session:
        made = {"text": " why", "token_ids": [3], "logprobs": [-1.0], "finish_reason": "stop"}
        record.record_reasoning(session, completion_id=first, **made)
    for body in ({"completion_id": whole}, {"completion_id": first}):
        talk.say("rating", value=1, **body)
    talk.say("correction", completion_id=first, part="reasoning", text="Six times seven.")
    assert export("sft", home / "plain") == 0
    assert [row["completion"][0]["content"] for row in read_rows(home / "plain")] == ["whole"]
    told = capsys.readouterr().err
    assert "2 of conclusions or reasonings alone are left out: --all-columns." in told
    assert export("sft", home / "all", "--all-columns") == 0
    _, shown, why = read_rows(home / "all")
    begun = {"role": "assistant", "content": "42 ####", "finish_reason": "delimiter"}
    assert shown["completion"] == [{**begun, "token_ids": [1, 2]}] == why["prompt"][-1:]
    assert (why["signal"], why["completion"][0]["content"]) == (
        "reasoning_correction",
        " Six times seven.",
    )


def test_a_dash_is_standard_output(database: Database, ada: User, home: Path) -> None:
    tell(database, ada)
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "serve.cli", "export", "sft", "-"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    assert rows[0]["completion"] == [{"role": "assistant", "content": f"A physician. {WEIRD}"}]
    assert done.stderr.startswith(b"2 sft rows")


def test_a_file_is_overwritten_only_when_told_to(
    database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(database, ada)
    file, link = home / "rows.jsonl", home / "link.jsonl"
    file.write_text("mine")
    link.symlink_to(file)
    assert export("sft", link) == 1
    assert "link.jsonl exists. Name another file, or overwrite it with --force." in (
        capsys.readouterr().err
    )
    assert file.read_text() == "mine"
    assert export("sft", link, "--force") == 0
    assert link.is_symlink() and len(read_rows(file)) == 2


@pytest.mark.parametrize(
    ("place", "message"),
    [("none/rows", "There is no folder"), (".", "no ordinary file"), ("pipe", "no ordinary file")],
)
def test_a_place_that_cannot_be_written_is_named(
    database: Database, home: Path, place: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(home / "pipe")
    assert export("sft", home / place, "--force") == 1
    assert message in capsys.readouterr().err
    assert (home / "pipe").is_fifo()


def test_a_full_disk_changes_nothing(
    database: Database,
    ada: User,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tell(database, ada)
    folder = home / "out"
    folder.mkdir()
    (folder / "rows").write_text("mine")
    monkeypatch.setattr(manifest.os, "fsync", full)
    assert export("sft", folder / "rows", "--force") == 1
    assert "cannot be written: No space left on device. Nothing was" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["rows"]
    assert (folder / "rows").read_text() == "mine"


@pytest.mark.parametrize("name", datasets.names())
def test_no_rows_are_refused_with_what_would_make_some(
    name: str, database: Database, ada: User, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = Talk(database, ada)
    turn, drafts = talk.turn("bad", "worse")
    talk.say("comparison", turn_id=turn, shown=drafts, chosen="both_bad")
    tell(database, ada, heldout=True)
    file = home / "rows"
    assert export(name, file) == 4
    told = capsys.readouterr().err
    assert f"No {name} rows to write with --split train (feedback in force: 2 comparison" in told
    assert datasets.made_of(name) in told
    assert "of split heldout are left out: --split all." in told
    assert not file.exists()


def test_a_database_without_tables_is_explained(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("sft", "-") == 1
    assert "redraft db migrate" in capsys.readouterr().err


def test_the_command_loads_no_trainer() -> None:
    code = "import sys, retrain.export; sys.exit(bool({'torch', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
