"""The report of a corpus: it says what the stages' files say, and escapes what documents say."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from test_retrain_report import HOSTILE, shown, text_of

from retrain.corpus.check import check
from retrain.corpus.commands import group
from retrain.corpus.report import render, write_report
from retrain.corpus.stage import CorpusError
from retrain.corpus.write import write
from retrain.manifest import read_rows, write_json, write_rows
from retrain.report.scale import histogram
from serve.settings import load_settings

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

HOURS = "The reading room of {} is open from 9:00 to 18:00, on Fridays until {}:00."


def unit(n: int) -> dict[str, Any]:
    content = HOURS.format(f"house {n}", n) + (f" {HOSTILE}" if n == 0 else "")
    return {"id": f"u-{n}", "content": content}


def answer(n: int, question: str, answer: str, theme: str) -> dict[str, Any]:
    origin = {"unit": f"u-{n}", "document": f"d-{n}", "source": f"{n}.md", "part": ""}
    told = {"theme": theme, "model": "sage", "prompt": "p"}
    return {"id": f"q-{len(question):03}{n}", **origin, **told} | {
        "question": question, "answer": answer,
    }  # fmt: skip


def corpus(folder: Path, count: int = 20) -> Path:
    """A folder as stages up to `write` leave it, of `count` passages with three answers each."""
    answers = []
    for n in range(count):
        theme = f"Hours {HOSTILE} > House {n}" if n < 12 else "Lockers"
        answers += [
            answer(n, f"When does the reading room of house {n} close on Fridays?",
                   f"On Fridays at {n}:00." + (f" {HOSTILE}" if n == 0 else ""), theme),
            answer(n, "What does the passage say?", "It says when it is open.", theme),
            answer(n, f"How much is a locker in house {n}?", "On Fridays 77.", theme),
        ]  # fmt: skip
    folder.mkdir()
    write_rows(folder / "units.jsonl", map(unit, range(count)))
    write_rows(folder / "answers.jsonl", answers)
    bill = {"tokens_in": 3000, "tokens_out": 1000, "cost": 0.5}
    done = {"rows": count, "inputs": count, "troubles": [f"0.md: {HOSTILE}"], "sha256": "a"}
    notes = {"whole": 15, "refused": 5, "pair without a text": 2}
    paid = {"teacher": {**bill, "without_an_answer": {"killed": 120}}, "notes": notes}
    write_json(folder / "extract.json", {**done, "stage": "extract"})
    write_json(folder / "segment.json", {**done, "stage": "segment"})
    write_json(folder / "generate.json", {**done, **paid, "stage": "generate"})
    check(folder)
    write(folder, load_settings(holdout_share=0.2))
    return folder


def test_it_says_what_the_stages_left(tmp_path: Path) -> None:
    told = text_of(render(corpus(tmp_path / "shop")))
    assert "20 rows out of 20 documents" in told
    assert "Kept 33% of 60 answers" in told
    assert "Cost 0.5 3,000 tokens in, 1,000 out" in told
    assert "Cost of a kept row 0.025 200 tokens" in told
    assert re.search(r"Dataset \d+ to train on, \d+ held out", told)
    assert "leans on the passage 20 33.3 %" in told
    assert "a number that the source does not have 20 33.3 %" in told
    assert "whole 15 75.0 % refused 5 25.0 % pair without a text 2" in told
    assert "Paid without an answer 120 tokens: killed" in told
    assert "Lockers 24 8" in told and "36 12" in told, "themes by their highest heading"
    assert "generate 20 20 1" in told


def test_texts_are_escaped_and_nothing_is_fetched(tmp_path: Path) -> None:
    html = render(corpus(tmp_path / "shop", 1))
    assert html.count("&lt;script&gt;") > 4 and "<script" not in html and "<img" not in html
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", html)
    assert "url(" not in html and "@import" not in html


def test_rows_of_other_kinds_are_shown_whole(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "shop")
    rows = read_rows(folder / "rows.jsonl")
    talk = [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello"}]
    rows[0] |= {"kind": "dialogue", "messages": talk}
    rows[1] |= {"kind": "preference", "rejected": "Never.", "flaw": "untrue"}
    rows[2] |= {"kind": "rewrite", "history": talk}
    rows[3] |= {"kind": "instruct", "unit": ""}
    write_rows(folder / "rows.jsonl", rows)
    told = text_of(render(folder))
    assert "By kind, 16 rows of qa, 1 rows of dialogue" in told
    assert "User Hi there Assistant Hello" in told
    assert "Worse answer: untrue Never." in told
    assert "Before, the user Hi there Before, the assistant Hello Follow-up" in told


def test_a_corpus_of_which_nothing_stays_has_a_report(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "shop", 0)
    told = text_of(render(folder))
    assert "0 rows out of 0 documents" in told and "Why answers were dropped None was." in told


def test_the_command_writes_it_and_needs_the_check(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "shop")
    done = CliRunner().invoke(group, ["report", "--into", str(folder)])
    assert done.output.strip() == str(folder / "report.html")
    assert (folder / "report.html").read_text() == render(folder)
    (folder / "check.json").unlink()
    with pytest.raises(CorpusError, match="Stage check is not done"):
        render(folder)


def test_a_histogram_holds_every_value_and_the_longest_do_not_flatten_it() -> None:
    found = histogram([*range(100, 200), 10_000], bins=10)
    assert sum(found.counts) == 101 and found.counts[0] == 10
    assert (found.lowest, found.median, found.highest) == (100, 150, 10_000)
    assert found.range(0) == "100 to 109" and found.range(9) == "190 and more"
    assert histogram([]).counts == [0] * 24 and histogram([5, 5]).range(23) == "28 to 28"


@pytest.mark.browser
def test_a_browser_shows_it_without_script_or_request(
    context: "BrowserContext", tmp_path: Path
) -> None:
    assert shown(context, write_report(corpus(tmp_path / "shop"))) == "Corpus shop: 20 rows"
