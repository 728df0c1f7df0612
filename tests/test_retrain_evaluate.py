"""Held-out items and their numbers."""

import math
import random
from collections.abc import Sequence
from statistics import fmean

import pytest
from retrain_rows import comparison, correction, draft, rating

from prompts.answer_first import DELIMITER
from retrain import gate
from retrain.evaluate.items import count_by_kind, held_out_items, taught_as_well
from retrain.evaluate.measure import Scored, Scores, gains, measure
from retrain.evaluate.preference import summarise
from retrain.rows import Row
from serve.engines.echo import EchoEngine

HELD = {"split": "heldout"}


class Arithmetic(EchoEngine):
    """Engine echo with scores that a test can work out: `better` likes short texts more."""

    def __init__(self) -> None:
        super().__init__("m")
        self.calls = 0

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        self.calls += 1
        n = len(completion_ids)
        return [{None: -1.0, "damaged": -1.5, "better": -0.1 * n}[adapter]] * n


def scored(rows: list[Row], adapter: str = "better") -> list[tuple[float, float]]:
    found = measure(Arithmetic(), held_out_items(rows), None, adapter)
    return [(g.gain, g.gain_sum) for g in gains(found)]


def test_only_held_out_rows_become_items_and_each_once() -> None:
    rows = [correction("a"), correction("a", prompt="q", **HELD)]
    rows += [
        correction("a", prompt="q", user_id="usr_2", **HELD),
        comparison("tie", "a", "b", **HELD),
    ]
    items = held_out_items(rows)
    assert count_by_kind(items) == {"correction": 1}


def test_items_that_were_taught_in_the_same_words_are_counted() -> None:
    held = [correction(text, prompt="q", split="heldout") for text in ("same", "other")]
    taught = [correction("same", prompt="q", user_id="usr_2"), correction("other", prompt="p")]
    assert taught_as_well(held_out_items(held), [*held, *taught]) == {"correction": 1}
    assert taught_as_well(held_out_items(held), held) == {}


def test_of_many_items_the_choice_is_stable() -> None:
    rows = [correction(f"text {n}", **HELD) for n in range(50)]
    chosen = held_out_items(rows, most=10)
    assert len(chosen) == 10
    assert chosen == held_out_items(rows[::-1], most=10)


def test_ratings_of_one_direction_measure_nothing() -> None:
    rows = [rating(1, f"a{n}", **HELD) for n in range(9)]
    assert held_out_items(rows) == []
    assert count_by_kind(held_out_items([*rows, rating(-1, "b", **HELD)])) == {"rating": 10}


def test_answers_to_a_rated_prompt_are_written_as_the_rated_one_was() -> None:
    limited = draft("Yes", sampling={"max_tokens": 90}, stopped_by=DELIMITER)
    rows = [rating(1, limited, **HELD), rating(-1, draft("No."), **HELD)]
    assert {(i.max_tokens, i.stop) for i in held_out_items(rows)} == {(90, (DELIMITER,)), (0, ())}


def test_a_correction_gains_what_its_likelihood_gains() -> None:
    ((gain, total),) = scored([correction("abc", **HELD)])
    assert (gain, total) == (pytest.approx(-0.3 + 1.0), pytest.approx(-0.9 + 3.0))


def test_a_comparison_gains_the_margin_over_the_mean_of_the_others() -> None:
    ((gain, _),) = scored([comparison(0, "ab", "abcd", "abcdef", **HELD)])
    assert gain == pytest.approx(-0.2 - (-0.4 - 0.6) / 2)


def test_damage_is_no_gain_per_token_though_the_sum_says_so() -> None:
    ((gain, total),) = scored([comparison(0, "ab", "abcdef", **HELD)], "damaged")
    assert gain == 0 and total > 0


def test_thumbs_up_and_down_have_equal_say() -> None:
    rows = [rating(1, f"up {n}", **HELD) for n in range(8)]
    rows += [rating(-1, f"no {n}", **HELD) for n in range(2)]
    gains = [gain for gain, _ in scored(rows, "damaged")]
    assert math.fsum(gains) == pytest.approx(0)


def rated(rises: dict[str, list[float]]) -> list[Scored]:
    """Held-out answers of ten tokens, whose log-probability rises by so much per token."""
    found = []
    for side, values in rises.items():
        for n, rise in enumerate(values):
            text = (Scores(10, -20.0 + 10 * rise, -20.0),)
            good, bad = (text, ()) if side == "up" else ((), text)
            found.append(Scored("rating", f"{side}{n}", good, bad))
    return found


def test_what_falls_with_all_old_answers_hides_no_gain() -> None:
    """A candidate that writes all of them less readily, but those rated down least of all."""
    told = {"up": [-0.26, -0.30, -0.34, -0.29, -0.31, -0.30],
            "down": [-0.38, -0.42, -0.40, -0.36, -0.44, -0.41, -0.39, -0.40]}  # fmt: skip
    found = gains(rated(told))
    assert fmean(gain.gain for gain in found) == pytest.approx(0.05)
    assert [gain.side for gain in found] == ["up"] * 6 + ["down"] * 8
    assert gate.decide(found, (), "rating", 5, 7).promote
    worse = gains(rated({"up": told["down"], "down": told["up"]}))
    assert gate.decide(worse, (), "rating", 5, 7).intervals["rating"].high < 0


@pytest.mark.parametrize("ups", [2, 4, 12])
def test_equals_are_seldom_told_apart_by_ratings(ups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrain.evaluate.interval.RESAMPLES", 300)
    chance, alarms, runs = random.Random(5), 0, 400
    for seed in range(runs):
        rises = {"up": [chance.gauss(-0.3, 0.15) for _ in range(ups)],
                 "down": [chance.gauss(-0.3, 0.10) for _ in range(20)]}  # fmt: skip
        alarms += gate.decide(gains(rated(rises)), (), "rating", 5, seed).promote
    assert alarms / runs <= 0.05  # 2.5 % are promised of samples that are not so small


def test_a_draft_is_scored_once_a_prompt() -> None:
    a, b, c = draft("aa"), draft("bbb"), draft("cccc")
    rows = [comparison(0, a, b, prompt="q", **HELD), comparison(0, a, c, prompt="q", **HELD)]
    engine = Arithmetic()
    measure(engine, held_out_items(rows), None, "better")
    assert engine.calls == 2 * 3


def test_what_does_not_fit_the_window_is_left_out() -> None:
    engine = Arithmetic()
    engine.context_window = 100
    rows = [correction("x" * 200, **HELD), correction("short", prompt="q", **HELD)]
    assert len(measure(engine, held_out_items(rows), None, "better")) == 1


def text(per_token: float, tokens: int, champion: float = -1.0) -> Scores:
    return Scores(tokens, per_token * tokens, champion * tokens)


def compared(good: Scores, *bad: Scores) -> Scored:
    return Scored("comparison", "k", (good,), bad)


def test_a_liking_for_short_texts_alone_is_no_length_controlled_accuracy() -> None:
    """The candidate likes every text the more, the shorter it is; users mostly do, too."""
    pairs = [compared(text(-0.1, 10), text(-0.9, 90))] * 8
    pairs += [compared(text(-0.9, 90), text(-0.1, 10))] * 2
    found = summarise(pairs)["comparison"]
    assert found["preferred_is"] == {"shorter": 8, "longer": 2, "as_long": 0}
    assert found["candidate"] == {"accuracy": 0.8, "controlled": 0.5}
    assert found["champion"] == {"accuracy": 0.5, "controlled": 0.5}


def test_where_the_shorter_one_always_wins_nothing_is_controlled() -> None:
    found = summarise([compared(text(-0.1, 10), text(-0.9, 90))])["comparison"]
    assert found["candidate"] == {"accuracy": 1.0, "controlled": None}


def test_each_comparison_counts_once_however_many_drafts_lost() -> None:
    one = compared(text(-0.1, 5), text(-0.5, 6))
    three = compared(text(-0.9, 5), text(-0.5, 4), text(-0.5, 6), text(-0.5, 7))
    assert summarise([one, three])["comparison"]["candidate"]["accuracy"] == 0.5


def test_the_accuracy_of_ratings_is_the_area_under_the_curve() -> None:
    up = [Scored("rating", f"u{n}", (text(-x, 5),), ()) for n, x in enumerate((0.1, 0.3, 0.6))]
    down = [Scored("rating", f"d{n}", (), (text(-x, 5),)) for n, x in enumerate((0.4, 0.6))]
    found = summarise(up + down)["rating"]
    assert found["candidate"]["accuracy"] == pytest.approx((2 + 2 + 0.5) / 6, abs=1e-4)
    assert found["champion"]["accuracy"] == 0.5 and found["pairs"] == 6


def test_corrections_tell_how_likely_they_are() -> None:
    found = summarise([Scored("correction", "c", (text(-0.5, 8),), ())])["correction"]
    assert found == {
        "items": 1,
        "candidate": {"per_token": -0.5},
        "champion": {"per_token": -1.0},
    }
