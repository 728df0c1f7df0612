"""Self-Instruct: what counts as new; rounds that draw from each other and resume for nothing."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from teacher_server import Body, Play, Script, TeacherServer

from prompts import FOLDER
from retrain.corpus import teacher as teachers
from retrain.corpus.asking import Answer
from retrain.corpus.commands import group
from retrain.corpus.instruct import BLIND, SEEDS, TOO_NEAR, Pool, read_seeds, rouge_l
from retrain.corpus.stage import CorpusError, Note
from retrain.manifest import read_json, read_rows
from retrain.terms import words

SHOWN = re.compile(r"^- (Seed .*|Do .*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "BACKOFF", 0.001)


def item(instruction: str) -> dict[str, str]:
    return {"question": instruction, "answer": "Gladly, and this is how."}


def test_seeds_in_both_languages_are_about_a_hundred_and_unlike_each_other() -> None:
    for name, sample in (("en", "How do I clean the steam wand of the machine each day?"),
                         ("zh", "每天营业结束后怎样清洁蒸汽棒？")):  # fmt: skip
        seeds = read_seeds(None, sample)
        assert seeds == (FOLDER / f"corpus/instruct/{name}.txt").read_text().splitlines()
        assert len(seeds) == 100 and not any(map(BLIND.search, seeds))
        told = [words(seed) for seed in seeds]
        assert all(
            rouge_l(one, other) < TOO_NEAR for at, one in enumerate(told) for other in told[:at]
        )


def test_rouge_l_is_of_the_longest_common_subsequence() -> None:
    one, other = "the cat sat on the mat".split(), "the cat lay on the mat".split()
    assert rouge_l(one, other) == pytest.approx(5 / 6)
    assert rouge_l(one, one) == 1
    assert rouge_l(one, one[::-1]) == pytest.approx(3 / 6)  # the same words in another order
    assert rouge_l([], []) == 0


def test_what_is_near_to_another_or_no_text_does_not_count() -> None:
    pool = Pool([f"Explain to a visitor how gate {n} is opened" for n in range(9)])
    told = pool.new(
        Answer(
            [
                item("Explain to a visitor how gate 4 is closed"),
                item("Write a short poem about rain."),
                item("Write a short poem about rain!"),
                item("Describe the picture of the gate in three sentences."),
                item("把这张图片里的内容写成一句话。"),
            ],
            [Note("whole")],
        )
    )
    assert [one["question"] for one in told.items] == ["Write a short poem about rain."]
    assert told.notes == [
        Note("whole"), *[Note("instruction near to another")] * 2,
        *[Note("instruction about what no text is")] * 2,
    ]  # fmt: skip
    assert pool.own == ["Write a short poem about rain."]


def test_seeds_are_a_file_with_enough_lines(tmp_path: Path) -> None:
    file = tmp_path / "seeds.txt"
    file.write_text("\ufeffOne\n\nTwo\nTwo\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=f"has 2 instructions, and each request shows {SEEDS}"):
        read_seeds(file, "")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_seeds(file, "")


def run(folder: Path, url: str, *arguments: str, **more: object) -> Result:
    given = {"teacher_url": url, "teacher_model": "sage", "teacher_concurrency": 4, **more}
    environment = {f"REDRAFT_{name.upper()}": str(value) for name, value in given.items()}
    seeds = folder.parent / "seeds.txt"
    seeds.write_text("\n".join(f"Seed {letter * 9}" for letter in "abcdefgh"))
    command = ["generate", "--into", str(folder), "--kind", "instruct", "--seeds", str(seeds)]
    return CliRunner(env=environment).invoke(group, [*command, "--instructions", "60", *arguments])


def teacher() -> Script:
    """Five new instructions a request, told by what it was shown: the same for the same."""

    def script(body: Body, count: int) -> Play:
        shown = SHOWN.findall(body["messages"][1]["content"])
        name = format(abs(hash(tuple(shown))) % 10**9, "x")
        tasks = [{"instruction": f"Do {name}{at}", "output": "Done."} for at in "vwxyz"]
        return Play(json.dumps({"tasks": tasks}))

    return script


def test_later_rounds_draw_from_earlier_ones_and_a_stop_costs_nothing(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "corpus"
    with TeacherServer(teacher()) as server:
        dry = run(whole, server.url, "--dry-run")
        found = re.search(r"12 requests to sage, .* \(at most ([\d,]+)\)", dry.output)
        assert found is not None and server.asked == []
        assert run(whole, server.url).exit_code == 0
        assert len(server.asked) == 12
        most = int(found[1].replace(",", ""))
        assert server.total < most
        shown = [SHOWN.findall(body["messages"][1]["content"]) for body in server.asked]
        assert all(len(seen) == SEEDS for seen in shown[:8])
        for seen in shown[8:]:
            assert len(seen) == SEEDS + 2 and sum(one.startswith("Do ") for one in seen) == 2
        again = run(whole, server.url, "--dry-run")
        assert "0 requests to sage, about 0 tokens" in again.output
        budget = most // 12 + 10 * server.total // 12  # the room for one, and about ten answers
    rows = read_rows(whole / "answers.jsonl")
    assert len(rows) == 60 and {row["source"] for row in rows} == {"seeds"}
    with TeacherServer(teacher()) as server:
        stopped = run(folder, server.url, teacher_budget_tokens=budget)
        assert stopped.exit_code == 4 and 8 < len(server.asked) < 12
        assert run(folder, server.url).exit_code == 0
        assert len(server.asked) == 12
    assert read_rows(folder / "answers.jsonl") == rows


def test_seeds_alone_make_a_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    with TeacherServer(teacher()) as server:
        assert run(folder, server.url).exit_code == 0
    runner = CliRunner()
    assert runner.invoke(group, ["check", "--into", str(folder)]).exit_code == 0
    assert runner.invoke(group, ["write", "--into", str(folder)]).exit_code == 0
    assert read_json(folder / "write.json")["rows"] == 60
    parts = {
        part: {row["origin"]["part"] for row in read_rows(folder / f"dataset/sft.{part}.jsonl")}
        for part in ("train", "heldout")
    }
    assert not parts["train"] & parts["heldout"]


def test_options_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.txt"
    seeds.touch()
    for options, said in (
        (["--seeds", str(seeds)], "--seeds goes with --kind instruct"),
        (["--known", "--kind", "dialogue"], "leave --kind out"),
    ):
        done = CliRunner().invoke(group, ["generate", "--into", str(tmp_path), *options])
        assert done.exit_code == 2 and said in done.stderr
