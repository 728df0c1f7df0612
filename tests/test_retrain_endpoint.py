"""A judge behind an endpoint: both orders, agreement with people, and what it is not told."""

import json
import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from retrain_rows import comparison

from retrain.evaluate.endpoint import judged
from retrain.evaluate.items import Item, held_out_items
from serve.engines.base import Chunk, Sampling
from serve.engines.echo import EchoEngine

SHORT, LONG = "A plain answer.", "An answer that goes on and on, and on, and then on again."
Taste = Callable[[str, str], str]


class Writing(EchoEngine):
    """Writes briefly as "brief", at length as anybody else."""

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        yield Chunk(0, SHORT if adapter == "brief" else LONG, finish_reason="stop")


class Judge(EchoEngine):
    """Replies by a taste for the two answers it is shown."""

    def __init__(self, taste: Taste) -> None:
        super().__init__("gauge")
        self.taste, self.shown = taste, list[tuple[str, str]]()

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        asked = json.loads(self.decode(prompt_ids))[-1]["content"]
        (pair,) = re.findall(r"\[Answer A\]\n(.*)\n\[End.*\[Answer B\]\n(.*)\n\[End", asked, re.S)
        self.shown.append(pair)
        yield Chunk(0, self.taste(*pair), finish_reason="stop")


def shorter(one: str, other: str) -> str:
    return "A" if len(one) < len(other) else "The better one is **B**."


def items(longer_picked: int = 0) -> list[Item]:
    rows = [
        comparison(int(n < longer_picked), f"No {n}.", f"No, not at all {n}.", prompt=f"q {n}",
                   split="heldout")
        for n in range(10)
    ]  # fmt: skip
    return held_out_items(rows)


@pytest.mark.parametrize(
    ("candidate", "champion", "rate"), [("brief", None, 1), (None, "brief", 0)]
)
def test_what_is_better_in_both_orders_wins(
    candidate: str | None, champion: str | None, rate: int
) -> None:
    judge = Judge(shorter)
    found = judged(Writing("m"), judge, items(3), champion, candidate, 7)  # type: ignore[arg-type]
    assert (found["win_rate"], found["wins"]) == (rate, 10 * rate)
    assert found["agreement"] == {"picks": 10, "agreed": 7, "tied": 0}
    assert found["unstable"] == 0 and found["judge"] == "gauge"
    assert all(pair[::-1] in judge.shown for pair in judge.shown), "both orders"


@pytest.mark.parametrize(
    ("taste", "unstable"), [(lambda *_: "A", 20), (lambda *_: "B", 20), (lambda *_: "T", 0)]
)
def test_a_liking_for_a_place_is_a_tie(taste: Taste, unstable: int) -> None:
    found = judged(Writing("m"), Judge(taste), items(), None, "brief", 7)
    assert (found["win_rate"], found["ties"], found["unstable"]) == (0.5, 10, unstable)
    assert found["agreement"] == {"picks": 10, "agreed": 0, "tied": 10}


def test_a_reply_without_a_letter_is_a_tie() -> None:
    found = judged(Writing("m"), Judge(lambda *_: "Both are fine."), items(), None, "brief", 7)
    assert found["ties"] == 10 and found["unstable"] == 0


def test_equal_answers_are_not_asked_about() -> None:
    judge = Judge(shorter)
    found = judged(Writing("m"), judge, items(), "brief", "brief", 7)
    assert found["ties"] == 10 and len(judge.shown) == 2 * 10, "for people's picks alone"
