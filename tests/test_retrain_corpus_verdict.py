"""The teacher's verdict on answers, with a scripted teacher."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from teacher_server import Body, Play, TeacherServer

from retrain.corpus import teacher as teachers
from retrain.corpus.commands import group
from retrain.corpus.parsing import Malformed
from retrain.corpus.verdict import LEANS, UNJUDGED, UNSUPPORTED, fit, reasons, tasks
from retrain.manifest import read_json, read_rows, write_json, write_rows

CONTENT = "House {0} was built in 19{0} by the guild of masons, and has {0} rooms with a stove."
ASKED = re.compile(r"<question>\nHow many rooms has house (\d+)")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "BACKOFF", 0.001)


def corpus(folder: Path, count: int = 20) -> Path:
    """A folder as `generate` leaves it: a passage, a question and an answer for each number."""
    numbers = range(10, 10 + count)
    told = {"source": "houses.md", "part": "", "theme": "Houses", "model": "sage", "prompt": "p"}
    write_rows(folder / "units.jsonl", [{"id": f"u{n}", "content": CONTENT.format(n)}
                                        for n in numbers])  # fmt: skip
    write_rows(folder / "answers.jsonl", [
        {"id": f"q{n}", "unit": f"u{n}", "document": "d", **told,
         "question": f"How many rooms has house {n}?", "answer": f"House {n} has {n} rooms."}
        for n in numbers
    ])  # fmt: skip
    write_json(folder / "segment.json", {"sha256": "a"})
    write_json(folder / "generate.json", {"sha256": str(count)})
    return folder


def number_of(body: Body) -> int:
    (found,) = ASKED.findall(body["messages"][1]["content"])
    return int(found)


def said(supported: object, standalone: object) -> str:
    verdict = {"why": "So it is.", "supported": supported, "standalone": standalone}
    return json.dumps({"verdicts": [verdict]})


def script(body: Body, count: int) -> Play:
    """Of ten answers one is unsupported, one leans on its passage, two get no verdict."""
    kind = number_of(body) % 10
    if kind == 1:
        return Play(said(False, True))
    if kind == 2:
        return Play(said(True, False))
    if kind == 3:
        return Play("I'm sorry, but I can't help with that.")
    if kind == 4:
        return Play(said("perhaps", True))
    if kind == 5:  # prose, and JSON when asked once more
        return Play(f"```json\n{said('yes', 'Yes')}\n```" if body.get("seed") else "Supported.")
    return Play(said(True, True))


def run(folder: Path, url: str, *options: str, **more: object) -> Result:
    given = {"teacher_url": url, "teacher_model": "sage", "teacher_price_in": 1.0, **more}
    environment = {f"REDRAFT_{name.upper()}": str(value) for name, value in given.items()}
    return CliRunner(env=environment).invoke(group, ["check", "--into", str(folder), *options])


def test_what_the_teacher_is_against_is_dropped_with_the_reason(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    with TeacherServer(script) as server:
        done = run(folder, server.url, "--verdict")
        assert done.exit_code == 3 and done.stderr.count("has no verdicts (refused)") == 2
        asked = len(server.asked)
        told = read_json(folder / "check.json")
        assert told["dropped"] == {UNSUPPORTED: 2, LEANS: 2, UNJUDGED: 4}
        assert told["notes"] == {
            "whole": 14, "refused": 2, "malformed": 6, "repaired": 2,
            "verdict without yes or no": 4,
        }  # fmt: skip
        assert told["teacher"]["tokens_in"] + told["teacher"]["tokens_out"] == server.total
        assert {row["id"] for row in read_rows(folder / "rows.jsonl")} == {
            f"q{n}" for n in range(10, 30) if n % 10 not in (1, 2, 3, 4)
        }
        assert run(folder, server.url).exit_code == 0, "without the verdict they count"
        assert len(read_rows(folder / "rows.jsonl")) == 20
        assert run(folder, server.url, "--verdict").exit_code == 3
        assert len(server.asked) == asked, "nothing is paid for twice"


def test_the_budget_stops_it_and_more_of_it_goes_on(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    with TeacherServer(lambda body, count: Play(said(True, True))) as server:
        done = run(folder, server.url, "--verdict", teacher_budget_tokens=6_000)
        assert done.exit_code == 4 and "same command goes on" in done.stderr
        assert 1 < len(server.asked) < 20 and server.total <= 6_000
        assert not (folder / "check.json").exists()
        assert run(folder, server.url, "--verdict").exit_code == 0
        assert len(server.asked) == 20
    assert read_json(folder / "check.json")["rows"] == 20


def test_a_dry_run_asks_nothing(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    with TeacherServer(script) as server:
        done = run(folder, server.url, "--verdict", "--dry-run")
        assert done.exit_code == 0 and "20 requests to sage, about" in done.output
        assert server.asked == [] and not (folder / "check.json").exists()
    assert "--dry-run goes with --verdict" in run(folder, "", "--dry-run").output


def test_the_teacher_sees_passage_question_and_answer_and_is_held_to_a_form() -> None:
    row = {"id": "q", "unit": "u", "source": "s"}
    row |= {"question": "蒸汽棒怎么清洁？", "answer": "用湿布擦拭。"}
    (task,) = tasks([row], {"u": "每天营业结束后，请用湿布擦拭蒸汽棒。"})
    asked = task.request()
    system, user = asked.messages
    assert system["content"].startswith("你在助手学习之前审查")
    for text in ("每天营业结束后", row["question"], row["answer"]):
        assert text in user["content"]
    assert asked.schema is not None
    (name, listed), *_ = asked.schema["properties"].items()
    assert (name, listed["maxItems"]) == ("verdicts", 1)
    assert fit({"supported": "是", "standalone": False}) == {
        "supported": True, "standalone": False, "why": "",
    }  # fmt: skip
    with pytest.raises(Malformed, match="verdict without yes or no"):
        fit({"supported": True})


def test_what_is_judged_is_what_a_passage_has_to_bear_out(tmp_path: Path) -> None:
    told = [{"role": role, "content": text} for role, text in (
        ("user", "Who built house 10?"), ("assistant", "The guild of masons."),
        ("user", "And when?"), ("assistant", "In 1910."),
    )]  # fmt: skip
    about = {"unit": "u10", "source": "s", "question": "And when?", "answer": "When was it built?"}
    dialogue = {**about, "id": "q1", "kind": "dialogue", "messages": told}
    rewrite = {**about, "id": "q2", "kind": "rewrite", "history": told[:2]}
    alone = {**about, "id": "q3", "kind": "instruct", "unit": ""}
    rows, contents = [dialogue, rewrite, alone], {"u10": CONTENT.format(10)}
    asked = [(t.subject["id"], t.values["question"], t.values["answer"])
             for t in tasks(rows, contents)]  # fmt: skip
    assert asked == [
        ("q1", "Who built house 10?", "The guild of masons."),
        ("q1", "Who built house 10?\nAnd when?", "In 1910."),
        ("q2", "Who built house 10?", "The guild of masons."),
    ]
    good = {"supported": True, "standalone": True}
    write_rows(tmp_path / "verdicts.jsonl", [
        {"id": "q1", "claim": 0, **good}, {"id": "q1", "claim": 1, **good, "supported": False},
        {"id": "q2", "claim": 0, **good},
    ])  # fmt: skip
    assert reasons(tmp_path, rows, contents) == [UNSUPPORTED, None, None]
