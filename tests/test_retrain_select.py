"""Choosing rows where there are more than a run needs: the contract of every way, and each rule."""

import typing
from collections import Counter
from collections.abc import Sequence

import pytest
from retrain_rows import comparison, correction, of_corpus, rating

from retrain import select
from retrain.rows import Row, is_train
from retrain.select import Means, k_center, nuggets, perplexity
from serve.engines.echo import EchoEngine
from serve.settings import Settings

TOPICS = ("bread", "bicycles", "taxes", "stars")


class Knowing(EchoEngine):
    """Finds a text the likelier, the more of its words stand in the prompt or in what it knows."""

    def __init__(self, known: str = "") -> None:
        super().__init__("m")
        self.known, self.calls = known, 0

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        self.calls += 1
        before = f"{self.decode(prompt_ids)} {self.known}"
        words = self.decode(completion_ids).split()
        share = sum(word in before for word in words) / len(words)
        return [share - 1] * len(completion_ids)


def means() -> Means:
    return Means(Knowing(), None)


def many(count: int = 24, **own: str) -> list[Row]:
    found = []
    for n in range(count):
        topic = TOPICS[n % 4]
        asked = f"Tell me about {topic}, question {n}."
        found.append(correction(f"Of {topic} this is true: {n * 7}.", prompt=asked, **own))
        found.append(rating(1, f"All about {topic} {n}.", prompt=asked, **own))
        found.append(rating(-1, f"Nothing of {topic} {n}.", prompt=asked, **own))
        found.append(comparison(0, f"{topic} yes {n}", f"{topic} no {n}", prompt=asked, **own))
        found.append(comparison("tie", "a", "b", prompt=asked, **own))
    return found


def test_the_setting_knows_the_folder() -> None:
    annotation = Settings.model_fields["select"].annotation
    assert sorted(typing.get_args(annotation)) == select.names()


@pytest.mark.parametrize("way", select.names())
def test_a_way_keeps_the_number_the_kinds_and_what_is_held_out(way: str) -> None:
    rows = many() + many(4, split="heldout")
    kept = select.select(rows, way, 50, 0.3, 0, means())
    assert kept == [row for row in rows if row in kept], "in order"
    assert [r for r in kept if not is_train(r)] == [r for r in rows if not is_train(r)]
    chosen = [row for row in kept if is_train(row)]
    kinds = Counter(map(select.verdict, chosen))
    # Ties teach nothing: the ways that weigh what a row teaches leave them out.
    assert kinds.pop("no winner", 0) in (0, 10) and set(kinds.values()) == {10}
    assert kept == select.select(rows, way, 50, 0.3, 0, means()), "the same every time"


@pytest.mark.parametrize("way", select.names())
def test_where_there_is_room_all_stay(way: str) -> None:
    rows = many(3)
    assert select.select(rows, way, 15, 0.3, 0, Means()) == rows


@pytest.mark.parametrize("way", select.names())
def test_a_corpus_is_chosen_from_like_feedback(way: str) -> None:
    rows = [of_corpus(f"Of {TOPICS[n % 4]} it says: {n * 7}.", prompt=f"q {n}") for n in range(40)]
    kept = select.select([*rows, *many(4)], way, 30, 0.3, 0, means())
    assert Counter(map(select.verdict, kept))["corpus"] == 20, "its share of the 60"


def test_earlier_feedback_has_its_share_and_changes_from_run_to_run() -> None:
    old, new = [correction(f"old {n}") for n in range(60)], [correction(str(n)) for n in range(60)]
    seen = old[-1]["seq"]

    def kept_of(rows: list[Row], last: int = seen) -> list[Row]:
        kept = select.select(rows, "k_center", 20, 0.3, last, Means())
        assert len(kept) == 20
        return [row for row in kept if row in old]

    assert len(kept_of(old + new)) == 6
    assert len(kept_of(old + new[:5])) == 15, "what the new ones do not need"
    assert len(kept_of(old[:2] + new)) == 2
    drawn = [kept_of(old + new[:5], seen + extra) for extra in (0, 1)]
    assert drawn[0] != drawn[1]


def test_k_center_covers_a_rare_topic() -> None:
    common = [correction(f"Bread needs flour, note {n}.", prompt="About bread?") for n in range(40)]
    rare = correction("Saturn has rings of ice.", prompt="What is around that planet?")
    chosen = k_center.choose([*common, rare], 3, Means())
    assert 40 in chosen and len(set(chosen)) == 3


def test_perplexity_takes_what_is_not_known_and_the_strangest_last() -> None:
    known = [correction("sugar is sweet", prompt="q") for _ in range(20)]
    half = [correction("sugar is blue", prompt="q") for _ in range(20)]
    strange = [correction("xq zv", prompt="q") for _ in range(2)]
    found = Means(Knowing("sugar is sweet"))
    chosen = perplexity.choose([*known, *half, *strange], 42, found)
    assert set(chosen[:20]) == set(range(20, 40)), "noise would be first by perplexity alone"
    assert set(chosen[-2:]) == {40, 41}


def test_perplexity_takes_the_pick_that_the_champion_calls_wrongly_first() -> None:
    right = comparison(0, "sugar is sweet", "xq zv", prompt="q")
    wrong = comparison(1, "sugar is sweet", "xq zv", prompt="q")
    down = [rating(-1, "xq zv", prompt="q"), rating(-1, "sugar is sweet", prompt="q")]
    assert perplexity.choose([right, wrong], 1, Means(Knowing("sugar is sweet"))) == [1]
    assert perplexity.choose(down, 1, Means(Knowing("sugar is sweet"))) == [1], "it still says so"


def test_nuggets_takes_what_helps_the_others() -> None:
    helpful = correction("apples pears plums", prompt="Which fruits?")
    tasks = [correction(f"apples {w}", prompt=f"{w}?") for w in ("pears", "plums", "pears plums")]
    useless = [correction(f"zz{n} yy{n}", prompt=f"word {n}?") for n in range(4)]
    chosen = nuggets.choose([*useless, helpful, *tasks], 8, means())
    assert set(chosen[:4]) == {4, 5, 6, 7} and chosen[0] == 4


def test_a_way_that_scores_says_so_and_without_an_engine_explains() -> None:
    assert [way for way in select.names() if select.needs_engine(way)] == ["nuggets", "perplexity"]
    with pytest.raises(ValueError, match="was given no engine"):
        perplexity.choose([correction("x")], 1, Means())
