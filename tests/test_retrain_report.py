"""The report for people: it says what the numbers say, escapes every text, and asks for nothing."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from retrain_rows import comparison, correction

from retrain import gate
from retrain.curate import curate
from retrain.evaluate.items import Item, held_out_items
from retrain.evaluate.measure import Gain, Scored, Scores
from retrain.evaluate.preference import summarise
from retrain.guards import Guard
from retrain.noise import estimate
from retrain.report import render
from retrain.report.scale import Scale, around
from retrain.rows import Row, counts
from serve.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

HOSTILE = '<script>document.title="taken"</script><img src=x onerror=alert(1)> & "quotes"'
HELD = {"split": "heldout"}


def rows() -> list[Row]:
    found = [
        correction(f"Right {n}.", prompt=f"What is {n}?", user_id=f"u{n % 3}") for n in range(9)
    ]
    found += [correction("Right 1.", prompt="What is 1?", user_id="u1")] * 3
    asked = [f"{HOSTILE} {n}" if n == 0 else f"Why is it so, case {n}?" for n in range(14)]
    for n, prompt in enumerate(asked):
        drafts = (f"Short {n}. {HOSTILE}", f"A long-winded answer to case {n}, on and on.")
        found.append(comparison(0, *drafts, prompt=prompt, user_id=f"u{n % 3}", **HELD))
    return found


def page(gain: float = 0.4, guard_held: bool = True, **changes: Any) -> str:
    read = rows()
    curated = curate(read, Settings(min_users=1))
    items = held_out_items(curated.rows)
    gains = [Gain(item.kind, item.key, gain + (n - 4) / 20, 0.0) for n, item in enumerate(items)]
    guards = [
        Guard("general", True, 0.9, 0.875, 0.8, "right answers preferred in 87.5%"),
        Guard("degeneration", guard_held, None, 0.0, 1.0, f"0 of 12 answers {HOSTILE}"),
    ]
    decision = gate.decide(gains, guards, "comparison", 5, 7)
    report = {
        "candidate": "a-0001-3f9c1e",
        "champion": "base",
        **decision.as_dict(),
        "story": f"26 new events → a-0001-3f9c1e {gate.summary(decision)}",
        "snapshot": "s-0001",
        "taught_as_well": {"comparison": 3},
        "judge": {"comparison": {"believed": False, "agreement": 0.5, "comparisons": 0}},
        "preference": summarise(list(map(scored, items))),
        "endpoint": None,
        "overlap": None,
        **changes,
    }
    done = {
        "snapshot": {
            "rows": len(read),
            "users": 3,
            "last_feedback_seq": 99,
            "files": {"rows.jsonl": "ab" * 32},
            "steps": [],
        },
        "curate": {
            "rows": len(curated.rows),
            "steps": [one.as_dict() for one in curated.reports],
            "by_split": counts(curated.rows, "split"),
            "by_kind": counts(curated.rows, "split", "kind"),
            "label_noise": estimate(curated.rows),
        },
        "recipe": {
            "reasons": ["SFT on 9 corrected or praised answers"],
            "replay": {"replay general": 7},
        },
        "train": {
            "parent": None,
            "stages": [{"stage": "1-sft", "result": {"rows": 9, "loss": 1.25}}],
        },
    }
    # As it is read from files: tuples are lists, and infinity is a float still.
    return render("r-0001", json.loads(json.dumps(report)), done, gains, items)


WIDE = {"n": 1, "wins": 0, "mean": 0.0, "low": float("-inf"), "high": float("inf")}


def scored(item: Item) -> Scored:
    return Scored(item.kind, item.key, (Scores(5, -2.0, -3.0),), (Scores(9, -6.0, -5.0),))


def text_of(html: str) -> str:
    said: list[str] = []
    parser = HTMLParser()
    parser.handle_data = said.append  # type: ignore[method-assign]
    parser.feed(html.partition("</style>")[2])
    return " ".join(" ".join(said).split())


def test_it_says_what_the_numbers_say() -> None:
    told = text_of(page())
    assert "a-0001-3f9c1e promoted" in told
    assert re.search(r"Mean gain \+0\.525 95 % interval \+0\.\d+ to \+0\.\d+", told)
    assert "13 of 14" in told or "14 of 14" in told
    assert "26 rows of feedback by 3 users" in told
    assert "3 dropped: said before by the same user" in told
    assert "comparisons 14 100% 0% – – 14 : 0" in told, "all picks are the shorter ones"
    assert "beside it 7 rows of replay general" in told
    assert "Picks: not known, nobody judged what somebody else had judged." in told


def test_it_says_how_many_items_were_taught_in_the_same_words() -> None:
    assert "Of these items 3 are also said, word for word" in text_of(page())
    assert "word for word" not in text_of(page(taught_as_well={}))


def test_a_rejection_gives_its_reasons() -> None:
    told = text_of(page(gain=-1.0, guard_held=False))
    assert "a-0001-3f9c1e rejected" in told and "1 of 2 held" in told
    assert "not surely better" in told and "guard degeneration regressed" in told


def test_texts_are_escaped_and_nothing_is_fetched() -> None:
    html = page()
    assert html.count("&lt;script&gt;") > 4 and "<script" not in html and "<img" not in html
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", html)
    assert "url(" not in html and "@import" not in html


def test_an_interval_without_an_end_can_be_drawn() -> None:
    html = page(intervals={"comparison": WIDE})
    assert 'x1="0.0%" x2="100.0%"' in html and "nan" not in html


def test_it_says_what_another_model_says_or_why_it_did_not() -> None:
    said = {"judge": "gauge-1", "win_rate": 0.7, "low": 0.55, "high": 0.85, "wins": 9, "ties": 10}
    said |= {"losses": 1, "unstable": 3, "agreement": {"picks": 14, "agreed": 11, "tied": 2}}
    told = text_of(page(endpoint=said))
    assert "gauge-1 prefers the candidate's answers in 70% (55% to 85%; 9 won, 10 tied" in told
    assert "could not be asked: away &" in text_of(page(endpoint={"error": "away &"}))


def test_it_says_what_a_gain_is() -> None:
    assert "in nats per token" in text_of(page())
    judge = {"believed": True, "agreement": 0.875, "comparisons": 16}
    told = text_of(page(judge={"comparison": judge}))
    assert "their comparisons: it called 88% of 16 held-out ones" in told
    rated = page(judge={"rating": judge}, primary="rating", intervals={"rating": WIDE})
    assert "of held-out pairs of a thumb up and a thumb down it put 88% in" in text_of(rated)


def test_scales_keep_order_and_room() -> None:
    scale = around([-1.0, 3.0, float("inf")])
    assert scale(-1) < scale(0) < scale(3) < scale(float("inf")) == 100
    assert Scale(2, 2)(2) == 50


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "report.html"
    path.write_text(page(), encoding="utf-8")
    yield path


def shown(context: "BrowserContext", file: Path) -> str:
    """The title of the page, which asks for nothing, runs nothing, and fits any screen."""
    tab, asked, errors = context.new_page(), list[str](), list[str]()
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda said: errors.append(said.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(file.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert errors == []
    width = "document.documentElement.scrollWidth <= window.innerWidth"
    for size in ({"width": 1280, "height": 800}, {"width": 380, "height": 800}):
        tab.set_viewport_size(size)  # type: ignore[arg-type]
        assert tab.evaluate(width), f"no sideways scrolling at {size}"
    return tab.title()


@pytest.mark.browser
def test_a_browser_shows_it_without_script_or_request(
    context: "BrowserContext", file: Path
) -> None:
    assert shown(context, file) == "Run r-0001: a-0001-3f9c1e promoted"


def test_a_corpus_is_named_with_what_was_written_about_it() -> None:
    others = {"candidate": 0.15, "champion": 0.14}
    found = page(overlap={"items": 60, "candidate": 0.412, "champion": 0.231, "others": others})
    assert "without its documents" in found and "evaluate/overlap.jsonl" in found
    assert "<b>41%</b>, champion 23%" in found and "15% and 14%" in found
    assert "evaluate/overlap.jsonl" not in page()
