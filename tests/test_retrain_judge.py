"""The judge of held-out comparisons: when it is believed, and what it says of written answers."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from retrain.evaluate.items import Item, Passage
from retrain.evaluate.judge import (
    Answer,
    Comparison,
    choose_judge,
    fit_judge,
    judge_by_leaving_out,
    opposed,
)
from retrain.evaluate.written import KINDS, judge_of, written_gains
from serve.engines import open_engine
from serve.engines.base import Chunk, Engine, Sampling

WORDS = "the lamp is bright and it lights a room well at night with little power".split()


def text(chance: random.Random, words: int) -> Answer:
    return Answer(" ".join(chance.choice(WORDS) for _ in range(words)))


def pairs(chance: random.Random, n: int, shorter_wins: bool | None) -> list[Comparison]:
    """Comparisons of two by length; by a coin when `shorter_wins` is None."""
    found: list[Comparison] = []
    for _ in range(n):
        two = sorted(
            (text(chance, chance.randint(5, 90)) for _ in range(2)), key=lambda a: len(a.text)
        )
        if not (chance.random() < 0.5 if shorter_wins is None else shorter_wins):
            two.reverse()
        found.append([(two[0], two[1])])
    return found


@pytest.mark.parametrize("shorter_wins", [True, False])
def test_a_rule_is_found_in_both_directions(shorter_wins: bool) -> None:
    chance = random.Random(1)
    taught, held_out = (pairs(chance, n, shorter_wins) for n in (40, 20))
    for judge in (choose_judge(taught, held_out), judge_by_leaving_out(held_out)):
        assert judge.believed and judge.agreement > 0.8
        short, long = text(random.Random(2), 10), text(random.Random(3), 80)
        assert (judge.prefers(short, long) > 0.7) == shorter_wins
        assert judge.prefers(short, long) == pytest.approx(1 - judge.prefers(long, short))
        assert judge.prefers(short, short) == 0.5


def test_bent_training_labels_make_a_judge_that_is_not_believed() -> None:
    chance = random.Random(2)
    bent, honest = pairs(chance, 48, False), pairs(chance, 12, True)
    assert not fit_judge(bent, honest).believed
    judge = choose_judge(bent, honest)  # the held-out comparisons speak for themselves
    assert judge.prefers(text(chance, 8), text(chance, 80)) > 0.5


@pytest.mark.parametrize(("n", "rules"), [(5, 80), (12, 97), (20, 97)])
def test_coin_flips_are_seldom_believed_and_rules_mostly(n: int, rules: int) -> None:
    chance = random.Random(4)

    def believed(rule: bool | None) -> int:
        tries = ((pairs(chance, 4 * n, rule), pairs(chance, n, rule)) for _ in range(50))
        return 2 * sum(choose_judge(taught, held_out).believed for taught, held_out in tries)

    assert believed(None) <= 12
    assert believed(True) >= rules


def test_some_wrong_picks_do_not_hide_a_rule() -> None:
    chance = random.Random(8)

    def picks(n: int) -> list[Comparison]:
        wrong = (chance.random() < 0.1 for _ in range(n))
        return [pairs(chance, 1, not other)[0] for other in wrong]

    assert sum(choose_judge(picks(64), picks(16)).believed for _ in range(50)) >= 35


def test_a_fit_on_what_it_is_tried_on_takes_twenty_pairs_of_drafts() -> None:
    held_out = pairs(random.Random(9), 20, True)
    assert not judge_by_leaving_out(held_out[1:]).believed
    assert judge_by_leaving_out(held_out).believed


def test_groups_of_four_say_more_each_and_coin_flips_in_them_are_not_believed_either() -> None:
    chance = random.Random(11)

    def group(rule: bool) -> Comparison:
        four = sorted(
            (text(chance, chance.randint(5, 90)) for _ in range(4)), key=lambda a: len(a.text)
        )
        pick = four.pop(0 if rule else chance.randrange(4))
        return [(pick, other) for other in four]

    def believed(rule: bool) -> int:
        return sum(
            judge_by_leaving_out([group(rule) for _ in range(10)]).believed for _ in range(40)
        )

    assert believed(True) >= 36
    assert believed(False) <= 3
    assert not judge_by_leaving_out([group(True) for _ in range(6)]).believed, "18 pairs"


def test_drafts_of_one_comparison_are_left_out_together() -> None:
    held_out = [list(one) * 4 for one in pairs(random.Random(10), 8, None)]
    judge = judge_by_leaving_out(held_out)
    assert judge.n == 8, "each comparison counts once, however many drafts it has"
    one_by_one = judge_by_leaving_out([[pair] for comparison in held_out for pair in comparison])
    assert judge.loss > one_by_one.loss + 0.2, "a fit knows what it saw three fourths of"


def test_too_few_comparisons_are_not_believed() -> None:
    one = pairs(random.Random(5), 1, True)
    for taught, held_out in (([], []), ([], one), (one, [])):
        assert not choose_judge(taught, held_out).believed


def thumbs(chance: random.Random, n: int, short_is_good: bool | None) -> list[Comparison]:
    """Thumbs by length, opposed to each other; by a coin when `short_is_good` is None."""
    up: list[Answer] = []
    down: list[Answer] = []
    for _ in range(n):
        answer = text(chance, chance.randint(5, 90))
        short = len(answer.text.split()) < 40
        liked = chance.random() < 0.4 if short_is_good is None else short == short_is_good
        (up if liked else down).append(answer)
    return opposed(up, down)


def test_each_thumb_of_the_rarer_side_is_opposed_to_all_of_the_other() -> None:
    up, down = [Answer("a"), Answer("b")], [Answer("x"), Answer("y"), Answer("z")]
    assert opposed(up, down) == [[(one, other) for other in down] for one in up]
    assert opposed(down, up) == [[(one, other) for one in down] for other in up]
    assert opposed(up, []) == opposed([], down) == []


def test_thumbs_make_a_judge_and_bent_ones_make_none_that_is_believed() -> None:
    chance = random.Random(12)
    taught, bent, held_out = (
        thumbs(chance, n, good) for n, good in ((80, True), (80, False), (20, True))
    )
    judge = fit_judge(taught, held_out, once=True)
    assert judge.believed and judge.agreement > 0.9
    assert judge.prefers(text(chance, 10), text(chance, 80)) > 0.8
    assert not fit_judge(bent, held_out, once=True).believed


def test_one_answer_that_loops_does_not_decide_what_is_believed() -> None:
    """Repetition is rare: by the few who show it a little, one who shows it wholly is far off."""
    chance = random.Random(14)
    taught, held_out = thumbs(chance, 80, True), thumbs(chance, 30, True)
    looped = Answer("over and over again " * 9)
    slightly = Answer(" ".join(f"w{n}" for n in range(30)) + " w0 w1 w2 w3")
    taught = opposed([one[0][0] for one in taught], [*(b for _, b in taught[0]), slightly])
    held_out = opposed([*(one[0][0] for one in held_out), looped], [b for _, b in held_out[0]])
    judge = fit_judge(taught, held_out, once=True)
    assert judge.believed and judge.loss < 0.4


def test_thumbs_by_a_coin_are_seldom_believed() -> None:
    chance = random.Random(13)

    def believed(rule: bool | None) -> int:
        return sum(
            fit_judge(thumbs(chance, 80, rule), thumbs(chance, 20, rule), once=True).believed
            for _ in range(60)
        )

    assert believed(None) <= 5
    assert believed(True) >= 57


def items(n: int) -> list[Item]:
    chance, found = random.Random(6), []
    for i in range(n):
        good, bad = text(chance, 8), text(chance, 60)
        prompt = ({"role": "user", "content": f"/say {' '.join(WORDS)} {i}"},)
        found.append(Item("comparison", prompt, (Passage(good.text),), (Passage(bad.text),), 200))
    return found


class Longer:
    """Engine `echo`, whose answers under "long" come three times over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.encode_chat = engine.encode_chat

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Sequence[Chunk]:
        chunks = list(self._engine.generate(prompt_ids, sampling))
        return chunks * 3 if adapter == "long" else chunks


def rated(compared: list[Item]) -> list[Item]:
    """A thumb up for each picked draft, and after those one down for each of the others."""
    up = [Item("rating", item.messages, item.good) for item in compared]
    return up + [Item("rating", item.messages, (), item.bad) for item in compared]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("candidate", "champion", "sign"), [(None, "long", 1), ("long", None, -1)])
def test_written_answers_are_compared_as_users_would(
    tmp_path: Path, kind: str, candidate: str | None, champion: str | None, sign: int
) -> None:
    held_out = items(8)
    held_out = held_out if kind == "comparison" else rated(held_out)
    judge = judge_of(kind, held_out, held_out)
    assert judge.believed
    engine = Longer(open_engine("echo", "m", tmp_path))
    # `Longer` has what of an engine is used, and None stands for its other answers
    gains = written_gains(engine, kind, held_out, judge, champion, candidate)  # type: ignore[arg-type]
    assert [gain.key for gain in gains] == [item.key for item in held_out[:8]]
    assert {gain.kind for gain in gains} == {kind}
    assert all(0 < sign * gain.gain <= 0.5 for gain in gains)


def test_equals_gain_nothing(tmp_path: Path) -> None:
    held_out = items(6)
    engine = open_engine("echo", "m", tmp_path)
    judge = judge_of("comparison", held_out, held_out)
    # the candidate None: the same as the champion, which no run has
    gains = written_gains(engine, "comparison", held_out, judge, None, None)  # type: ignore[arg-type]
    assert [gain.gain for gain in gains] == pytest.approx([0.0] * 6)
