"""Held-out items and their numbers, and the contract of every guard."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from retrain_rows import comparison, correction, draft, rating

from retrain import guards
from retrain.evaluate.items import count_by_kind, held_out_items
from retrain.evaluate.measure import measure
from retrain.guards.degeneration import is_broken
from retrain.rows import Row
from serve.engines import open_engine
from serve.engines.base import Chunk, Sampling
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


class Looping(EchoEngine):
    """Says nothing but one word, again and again, when the adapter answers."""

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        if adapter is None:
            yield from super().generate(prompt_ids, sampling)
        else:
            yield Chunk(0, "very " * 16, (1,) * 64, (-1.0,) * 64, finish_reason="length")

    def _require(self, adapter: str | None) -> None:
        """Every name is loaded."""


def scored(rows: list[Row], adapter: str = "better") -> list[tuple[float, float]]:
    return [
        (g.gain, g.gain_sum) for g in measure(Arithmetic(), held_out_items(rows), None, adapter)
    ]


def test_only_held_out_rows_become_items_and_each_once() -> None:
    rows = [correction("a"), correction("a", prompt="q", **HELD)]
    rows += [
        correction("a", prompt="q", user_id="usr_2", **HELD),
        comparison("tie", "a", "b", **HELD),
    ]
    items = held_out_items(rows)
    assert count_by_kind(items) == {"correction": 1}


def test_of_many_items_the_choice_is_stable() -> None:
    rows = [correction(f"text {n}", **HELD) for n in range(50)]
    chosen = held_out_items(rows, most=10)
    assert len(chosen) == 10
    assert chosen == held_out_items(rows[::-1], most=10)


def test_ratings_of_one_direction_measure_nothing() -> None:
    rows = [rating(1, f"a{n}", **HELD) for n in range(9)]
    assert held_out_items(rows) == []
    assert count_by_kind(held_out_items([*rows, rating(-1, "b", **HELD)])) == {"rating": 10}


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


@pytest.mark.parametrize("name", guards.names())
def test_a_guard_holds_for_equals_and_says_what_it_saw(name: str) -> None:
    engine: Any = open_engine("echo", "m", Path())
    prompts = [[{"role": "user", "content": "hello there"}]]
    found = guards.check(name, guards.Bench(engine, None, None, prompts))  # type: ignore[arg-type]
    assert found.held and found.name == name and found.detail
    assert guards.Guard(**found.as_dict()) == found


def test_loops_are_caught() -> None:
    prompts = [[{"role": "user", "content": f"question {n}"}] for n in range(3)]
    found = guards.check("degeneration", guards.Bench(Looping("m"), None, "looping", prompts))
    assert not found.held
    assert found.detail.startswith("7 of 7 answers empty or looping, at most 1 allowed")


@pytest.mark.parametrize(
    ("text", "ids", "broken"),
    [
        ("", [], True),
        (" \n", [1], True),
        ("ok", [1, 2], False),
        ("a list", list(range(30)), False),
        ("again", [1, 2, 3] * 20, True),
    ],
)
def test_broken_answers(text: str, ids: list[int], broken: bool) -> None:
    assert is_broken(text, ids) is broken
