"""Which answers count, and the dataset that is made of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from teacher_server import Body, Play, TeacherServer

from retrain.corpus.check import amiss, check
from retrain.corpus.commands import group
from retrain.corpus.profanity import swears
from retrain.corpus.write import write
from retrain.manifest import read_json, read_rows, write_json, write_rows
from serve.settings import load_settings

FILES = Path(__file__).parent / "corpus"
SOURCE = (
    "Descale the Velmar 300 every 3 months or 5,000 cups. Dissolve 120 g of citric acid in 1.5 l "
    "of warm water. Write to service@velmar.com or call +44 20 7946 0958 for spare parts."
)
CHINESE = "每天营业结束后，请用湿布擦拭蒸汽棒，并空喷蒸汽 3 秒钟。切勿使用含氯的清洁剂。"


@pytest.mark.parametrize(
    ("question", "answer", "content", "reason"),
    [
        ("How often is the Velmar 300 descaled?", "Every 3 months or 5000 cups.", SOURCE, None),
        ("How much acid does descaling take?", "120 g of citric acid in 1.5 l of warm water.",
         SOURCE, None),
        ("蒸汽棒每天怎么清洁？", "营业结束后用湿布擦拭蒸汽棒，并空喷蒸汽 3 秒钟。", CHINESE, None),
        ("How often is the Velmar 300 descaled?", "Every 6 months.", SOURCE,
         "a number that the source does not have"),
        ("How often is it descaled?", "Use vinegar, lemon juice, baking soda and much patience.",
         SOURCE, "not supported by the source"),
        ("What does the passage say?", "Descale every 3 months.", SOURCE, "leans on the passage"),
        ("根据本文，怎么清洁蒸汽棒？", "用湿布擦拭蒸汽棒。", CHINESE, "leans on the passage"),
        ("How often?", "# Task: descale every 3 months\n# Criteria", SOURCE,
         "says what the prompt says"),
        ("How is the steam wand cleaned each day after the café has closed its doors?",
         "Wipe the steam wand with a damp cloth, and let steam out for a few seconds.", CHINESE,
         "in another language than the source"),
        ("Who?", "A", SOURCE, "too short or too long"),
        ("How often is the bloody thing descaled?", "Every 3 fucking months.", SOURCE, "swears"),
        ("蒸汽棒怎么清洁？", "他妈的，用湿布擦拭蒸汽棒。", CHINESE, "swears"),
        ("Every 3 months?", "every 3 months?", SOURCE, "answers with the question"),
    ],
)  # fmt: skip
def test_an_answer_counts_or_has_a_reason(
    question: str, answer: str, content: str, reason: str | None
) -> None:
    assert amiss({"question": question, "answer": answer}, content) == reason


@pytest.mark.parametrize(
    ("text", "so"),
    [
        ("What a SHITTY machine", True), ("你这个傻逼机器", True), ("这shit机器", True),
        ("Shitake mushrooms, the analysis of the rectum, and Scunthorpe", False),
        ("成人剂量为五片，处女座，座椅靠背，他妈妈的B超，月经不调", False),
    ],
)  # fmt: skip
def test_swearing_is_told_from_medicine_and_names(text: str, so: bool) -> None:
    assert swears(text) is so


def answer_row(n: int, question: str, answer: str, **more: Any) -> dict[str, Any]:
    origin = {"source": f"doc{n % 50}.md", "part": "", "document": f"d-{n}", "unit": "u-1"}
    told = {"theme": "t", "model": "sage", "prompt": "p"}
    return {"id": f"q-{n}", "question": question, "answer": answer, **origin, **told, **more}


def generated(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A folder as the stages before leave it."""
    folder.mkdir(exist_ok=True)
    write_rows(folder / "units.jsonl", [{"id": "u-1", "content": SOURCE}])
    write_rows(folder / "answers.jsonl", rows)
    write_json(folder / "segment.json", {"sha256": "a"})
    write_json(folder / "generate.json", {"sha256": str(len(rows))})
    return folder


def test_duplicates_go_and_personal_data_is_masked(tmp_path: Path) -> None:
    asked = "How often should the Velmar 300 be descaled in the office kitchen?"
    folder = generated(tmp_path, [
        answer_row(1, asked, "Every 3 months."),
        answer_row(2, asked, "Every 3 months or 5,000 cups."),
        answer_row(3, asked.replace("should", "should then"), "Every 3 months."),
        answer_row(4, asked.replace("300", "3"), "Every 3 months."),
        answer_row(5, "Where are spare parts to be had?",
                   "Write to service@velmar.com or call +44 20 7946 0958 for spare parts."),
    ])  # fmt: skip
    told = check(folder)
    assert told["dropped"] == {"asked nearly so before": 2}
    assert told["rates"] == {"asked nearly so before": 0.4}
    rows = read_rows(folder / "rows.jsonl")
    assert [row["id"] for row in rows] == ["q-1", "q-4", "q-5"]
    assert rows[2]["answer"] == "Write to [EMAIL] or call [PHONE] for spare parts."
    assert told["masked"] == 1
    dropped = read_rows(folder / "dropped.jsonl")
    assert [(row["id"], row["reason"]) for row in dropped] == [
        ("q-2", "asked nearly so before"), ("q-3", "asked nearly so before"),
    ]  # fmt: skip


def test_a_tenth_goes_to_review_and_the_rows_are_split_by_document(tmp_path: Path) -> None:
    rows = [answer_row(n, f"{word(n)} descale the Velmar?", "Every 3 months.") for n in range(800)]
    folder = generated(tmp_path, rows)
    assert check(folder)["rows"] == 800
    review = read_rows(folder / "review.jsonl")
    assert 50 < len(review) < 110
    told = write(folder, load_settings(holdout_share=0.2), system="Be brief.")
    assert told["splits"]["train"] + told["splits"]["heldout"] == 800
    assert 20 < told["splits"]["heldout"] < 320
    parts = {
        part: read_rows(folder / f"dataset/alpaca.{part}.jsonl") for part in ("train", "heldout")
    }
    documents = {part: {row["origin"]["source"] for row in found} for part, found in parts.items()}
    assert not documents["train"] & documents["heldout"]
    assert len(documents["train"] | documents["heldout"]) == 50
    first = parts["train"][0]
    assert {name: first[name] for name in ("input", "output", "system", "history")} == {
        "input": "", "output": "Every 3 months.", "system": "Be brief.", "history": [],
    }  # fmt: skip
    (said, *_) = read_rows(folder / "dataset/messages.train.jsonl")
    assert said["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": first["instruction"]},
        {"role": "assistant", "content": "Every 3 months."},
    ]
    again = write(folder, load_settings(holdout_share=0.2), system="Be brief.")
    assert again == told


def word(n: int) -> str:
    """A word of its own for each number, without a digit."""
    return "".join(chr(97 + int(digit)) for digit in f"{n:04}") * 3


def test_medquad_as_if_a_teacher_had_written_it_is_kept(tmp_path: Path) -> None:
    """Answers that stand in their source are supported by it; questions of other pages are not."""
    rows = read_rows(FILES / "medquad.jsonl")
    reasons = [amiss(row, row["answer"]) for row in rows]
    assert sum(reason is None for reason in reasons) / len(rows) > 0.9
    assert "not supported by the source" not in reasons
    shifted = [amiss(row, other["answer"]) for row, other in zip(rows, rows[1:], strict=False)]
    assert sum(reason is None for reason in shifted) / len(shifted) < 0.1


def scripted(body: Body, count: int) -> Play:
    passage = (
        body["messages"][1]["content"].rpartition("<passage>\n")[2].partition("\n</passage>")[0]
    )
    title, _, text = passage.partition("\n\n")
    return Play(json.dumps({"pairs": [{"question": title, "answer": text}]}))


def test_all_stages_in_one_command(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "corpus"
    source.mkdir()
    for n, row in enumerate(read_rows(FILES / "medquad.jsonl")[:60]):
        (source / f"{n:02}.md").write_text(f"# {row['question']}\n\n{row['answer']}\n")
    (source / "bad.pdf").write_bytes(b"no PDF")
    with TeacherServer(scripted) as server:
        given = {"REDRAFT_TEACHER_URL": server.url, "REDRAFT_TEACHER_MODEL": "sage"}
        runner = CliRunner(env=given)
        done = runner.invoke(group, ["make", str(source), "--into", str(folder)])
        assert done.exit_code == 3, done.output
        assert f"{source}/bad.pdf: it is damaged or no PDF" in done.stderr
        assert f"The report is {folder / 'report.html'}." in done.stderr
        asked = len(server.asked)
        assert runner.invoke(group, ["make", str(source), "--into", str(folder)]).exit_code == 3
        assert len(server.asked) == asked
    status = runner.invoke(group, ["status", "--into", str(folder)])
    assert [line.partition(":")[0] for line in status.output.splitlines() if line[0] != " "] == [
        "extract", "segment", "generate", "check", "write",
    ]  # fmt: skip
    assert read_json(folder / "write.json")["rows"] > 40
    assert read_json(folder / "check.json")["rows"] == read_json(folder / "write.json")["rows"]
    names = {path.name for path in (folder / "dataset").iterdir()}
    assert names == {
        f"{form}.{part}.jsonl"
        for form in ("alpaca", "messages", "prompt-only", "sft")
        for part in ("train", "heldout")
    }


def test_each_stage_names_the_one_before_that_is_missing(tmp_path: Path) -> None:
    for stage, before in (("check", "generate"), ("write", "check"), ("segment", "extract")):
        done = CliRunner().invoke(group, [stage, "--into", str(tmp_path)])
        assert f"Stage {before} is not done" in str(done.exception)
