"""Generation against a scripted teacher: failure rates, resumption after a kill, the budget."""

import contextlib
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import ROOT, wait_until
from teacher_server import Body, Play, TeacherServer

from retrain.corpus import teacher as teachers
from retrain.corpus.commands import group
from retrain.corpus.extract import extract
from retrain.corpus.generate import Asking
from retrain.corpus.kinds.qa import fit
from retrain.corpus.parsing import parse
from retrain.corpus.segment import segment
from retrain.corpus.teacher.wire import Reply
from retrain.manifest import read_json, read_rows

NUMBER = re.compile(r"Model (\d+)")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "BACKOFF", 0.001)


def corpus(folder: Path, count: int) -> Path:
    """`count` documents of one unit each."""
    source = folder / "source"
    source.mkdir()
    for n in range(1, count + 1):
        (source / f"{n:03}.txt").write_text(f"Model {n} weighs {n} kg and was made in {1900 + n}.")
    extract(folder / "corpus", [source], None, 500)
    assert segment(folder / "corpus")["rows"] == count
    return folder / "corpus"


def number_of(body: Body) -> int:
    """Which unit is asked about."""
    return int(NUMBER.findall(body["messages"][1]["content"])[-1])


def pairs_about(n: int) -> list[dict[str, str]]:
    return [
        {"question": f"How heavy is model {n}?", "answer": f"Model {n} weighs {n} kg."},
        {"question": f"When was model {n} made?", "answer": f"It was made in {1900 + n}."},
    ]


def good(n: int) -> str:
    return json.dumps({"pairs": pairs_about(n)})


def run(folder: Path, url: str, *arguments: str, **more: object) -> Result:
    given = {"teacher_url": url, "teacher_model": "sage", "teacher_concurrency": 4, **more}
    environment = {f"REDRAFT_{name.upper()}": str(value) for name, value in given.items()}
    command = ["generate", "--into", str(folder), *arguments]
    return CliRunner(env=environment).invoke(group, command)


def faulty(body: Body, count: int) -> Play:
    """What teachers do: of ten requests two are well, and each of the others fails its own way."""
    n = number_of(body)
    kind = n % 10
    seed = body.get("seed", 0)
    if kind == 1:
        return Play(f"Here you are:\n```json\n{good(n)}\n```\nI hope that helps!")
    if kind == 2:  # a trailing comma, and keys without quotes
        return Play(good(n).replace("}]", "},]").replace('"question"', "question"))
    if kind == 3:
        return Play("I'm sorry, but I can't help with that.")
    if kind == 4:
        return Play("No", finish="content_filter")
    if kind == 5:
        return Play("busy", status=500) if count == 1 else Play(good(n))
    if kind == 6:
        return Play("slow down", status=429) if count == 1 else Play(good(n))
    if kind == 7:
        return Play(good(n)[:-60], finish="length")
    if kind == 8:  # prose, and JSON when asked once more
        return Play(good(n)) if seed else Play("Model and weight are discussed in this passage.")
    if kind == 9:
        return Play("", finish="stop") if n != 9 else Play('{"pairs": [{"question": "A?"}]}')
    return Play(good(n), seconds=0.01)


def test_failure_rates_are_right_and_what_failed_is_named(tmp_path: Path) -> None:
    folder = corpus(tmp_path, 40)
    with TeacherServer(faulty) as server:
        done = run(folder, server.url)
        told = read_json(folder / "generate.json")
        assert told["teacher"]["tokens_in"] + told["teacher"]["tokens_out"] == server.total
    assert done.exit_code == 3, done.output
    rows = read_rows(folder / "answers.jsonl")
    found = Counter(NUMBER.findall(f"Model {row['question'].split('odel ')[1]}")[0] for row in rows)
    whole = [n for n in range(1, 41) if n % 10 in (0, 1, 2, 5, 6, 8)]
    assert found == Counter({str(n): 2 for n in whole} | {str(n): 1 for n in (7, 17, 27, 37)})
    assert told["notes"] == {
        "whole": 16, "repaired": 8, "refused": 8, "malformed": 6, "cut off": 4, "empty": 6,
        "pair without a text": 2,
    }  # fmt: skip
    assert told["inputs"] == 40 and told["rows"] == len(rows) == 52
    assert len(told["troubles"]) == 12 and "(refused)" in done.stderr
    for row in rows:
        assert {"question": row["question"], "answer": row["answer"]} in pairs_about(
            int(re.findall(r"odel (\d+)", row["question"])[0])
        )
        assert row["source"].endswith(".txt") and row["unit"].startswith("u-")
        assert row["model"] == "sage" and len(row["prompt"]) == 12


def test_a_terminal_shows_what_was_spent_of_the_budget(tmp_path: Path) -> None:
    folder = corpus(tmp_path, 30)
    with TeacherServer(lambda body, count: Play(good(number_of(body)), seconds=0.02)) as server:
        told = on_a_terminal(
            [sys.executable, "-m", "serve.cli", "corpus", "generate", "--into", str(folder)],
            REDRAFT_TEACHER_URL=server.url,
            REDRAFT_TEACHER_MODEL="sage",
            REDRAFT_TEACHER_PRICE_IN="1000",
            REDRAFT_TEACHER_BUDGET="50",
            REDRAFT_TEACHER_BUDGET_TOKENS="2000000",
        )
    bars = re.findall(
        r"generate [━╸╺]+ +\d+/30 [-\d:]+ (\S+) of 2M tokens, (\S+) of 50 spent", told
    )
    assert len(set(bars)) > 1, told
    assert bars[-1][0].endswith("k") and float(bars[-1][1]) > 1
    assert "\n" not in told[: told.rindex("of 2M")], "it fits on a line"


def on_a_terminal(command: list[str], **environment: str) -> str:
    """What a command writes to a terminal of 80 columns, without its colours."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    size = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, env={**os.environ, **size, **environment}, cwd=ROOT, stderr=theirs, stdout=theirs
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # its end is gone
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    assert process.wait(60) == 0, said
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_paid_twice_after_a_stop(number: signal.Signals, tmp_path: Path) -> None:
    folder, at_once = corpus(tmp_path, 40), 4
    with TeacherServer(lambda body, count: Play(good(number_of(body)), seconds=0.2)) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve.cli", "corpus", "generate", "--into", folder],
            env={
                **os.environ,
                "REDRAFT_TEACHER_URL": server.url,
                "REDRAFT_TEACHER_MODEL": "sage",
                "REDRAFT_TEACHER_CONCURRENCY": str(at_once),
            },
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            # Where the tests run in the background of a shell, an interrupt is passed over.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        wait_until(lambda: len(server.asked) > 15, 120)
        process.send_signal(number)
        assert process.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
        before = Counter(number_of(body) for body in server.asked)
        assert max(before.values()) == 1 and len(before) < 40
        assert not (folder / "answers.jsonl").exists()
        done = run(folder, server.url)
        assert done.exit_code == 0, done.output
        asked = Counter(number_of(body) for body in server.asked)
        again = [n for n, times in asked.items() if times > 1]
        # Only what was under way, which nobody had an answer to, and with the same key.
        assert len(again) <= (at_once if number == signal.SIGKILL else 0)
        for n in again:
            keys = {k for k, b in zip(server.keys, server.asked, strict=True) if number_of(b) == n}
            assert len(keys) == 1
        told = read_json(folder / "generate.json")["teacher"]
        assert server.total <= told["tokens_in"] + told["tokens_out"]
        assert len(read_rows(folder / "answers.jsonl")) == 80
        assert run(folder, server.url).exit_code == 0  # done: nothing is asked
        assert asked == Counter(number_of(body) for body in server.asked)


def test_the_budget_stops_cleanly_and_more_of_it_goes_on(tmp_path: Path) -> None:
    folder = corpus(tmp_path, 30)
    with TeacherServer(lambda body, count: Play(good(number_of(body)))) as server:
        done = run(folder, server.url, teacher_budget_tokens=8_000)
        assert done.exit_code == 4
        assert "The budget is used up" in done.stderr and "same command goes on" in done.stderr
        first = len(server.asked)
        assert 5 < first < 30 and server.total <= 8_000
        done = run(folder, server.url, teacher_budget_tokens=1_000_000)
        assert done.exit_code == 0, done.output
        assert len(server.asked) == 30
    assert len(read_rows(folder / "answers.jsonl")) == 60


def test_a_dry_run_asks_nothing_and_says_what_is_left(tmp_path: Path) -> None:
    folder = corpus(tmp_path, 10)
    prices = {"teacher_price_in": 2.0, "teacher_price_out": 8.0}
    with TeacherServer(lambda body, count: Play(good(number_of(body)))) as server:
        done = run(folder, server.url, "--dry-run", **prices)
        assert done.exit_code == 0 and server.asked == []
        found = re.search(
            r"10 requests to sage, about ([\d,]+) tokens \(at most ([\d,]+)\)", done.output
        )
        assert found is not None
        most = int(found[2].replace(",", ""))
        run(folder, server.url, **prices)
        assert server.total < most
        assert "0 requests to sage, about 0 tokens" in run(folder, server.url, "--dry-run").output


@pytest.mark.parametrize(
    ("play", "said"),
    [
        (Play("bad key", status=401), "Set REDRAFT_TEACHER_API_KEY"),
        (Play("no such model", status=404), "has no model 'sage'"),
    ],
)
def test_a_wrong_key_and_a_wrong_model_are_named(play: Play, said: str, tmp_path: Path) -> None:
    folder = corpus(tmp_path, 10)
    with TeacherServer(lambda body, count: play) as server:
        done = run(folder, server.url)
        assert done.exit_code == 4 and said in done.stderr
        assert len(server.asked) <= 4
    with TeacherServer(lambda body, count: Play(good(number_of(body)))) as server:
        assert run(folder, server.url).exit_code == 0


def unit(content: str) -> dict[str, Any]:
    return {"content": content, "theme": "Velmar", "id": "u", "source": "s"}


def test_the_prompt_is_in_the_language_of_the_unit_and_holds_it() -> None:
    english = "The machine weighs 27 kg, and must never be lifted by its steam wand at all."
    chinese = "每天营业结束后，请用湿布擦拭蒸汽棒，并空喷蒸汽三秒钟。"
    system, user = Asking(2, ["brew group"]).task(unit(english)).request().messages
    assert english in user["content"] and "brew group" in user["content"]
    assert system["content"].startswith("You write training data") and "# Task" in user["content"]
    system, user = Asking(2, ["冲煮头"]).task(unit(chinese)).request().messages
    assert chinese in user["content"] and "冲煮头" in user["content"]
    assert system["content"].startswith("你为一个回答Velmar问题")
    assert Asking(2).form().schema["properties"]["pairs"]["maxItems"] == 2


@pytest.mark.parametrize(
    ("text", "how", "count"),
    [
        (good(1), "whole", 2),
        ('{"pairs": []}', "whole", 0),
        (json.dumps(pairs_about(1)), "whole", 2),
        (json.dumps(pairs_about(1)[0]), "whole", 1),
        (f"Sure! {good(1)}", "repaired", 2),
        ("对不起，我无法完成。", "refused", 0),
        ("The passage says little.", "malformed", 0),
        ('{"other": 1}', "malformed", 0),
        ('{"pairs": [{"question": "A?"}]}', "malformed", 0),
        ("  ", "empty", 0),
        ('{"pairs": [{"question": "Sorry?", "answer": "I cannot say: 5."}]}', "whole", 1),
    ],
)
def test_answers_are_read_in_whatever_form_they_come(text: str, how: str, count: int) -> None:
    found = parse(Reply(text, "stop"), "pairs", fit)
    assert (found.how, len(found.items)) == (how, count)
