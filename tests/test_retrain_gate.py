"""The gate: how often it errs on equal models, what it lets pass, what blocks."""

import numpy as np
import pytest
from retrain_rows import comparison, correction, of_corpus, rating

from retrain.evaluate import interval
from retrain.evaluate.interval import paired_interval, student_t
from retrain.evaluate.items import held_out_items
from retrain.evaluate.measure import Gain
from retrain.gate import decide, judged_by_few, summary
from retrain.guards import Guard
from retrain.rows import Row

HELD = Guard("general", True, -1.0, -1.1, -1.2, "fine")
LOST = Guard("general", False, -1.0, -2.0, -1.2, "answers -2 against -1")


def gains(kind: str, values: list[float]) -> list[Gain]:
    return [Gain(kind, f"{kind}{n}", value, 10 * value) for n, value in enumerate(values)]


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.7062), (4, 2.77645), (30, 2.04227)])
def test_students_quantile(freedom: int, expected: float) -> None:
    assert student_t(0.975, freedom) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("n", [5, 12, 60])
def test_equal_models_pass_in_five_percent_at_most(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "RESAMPLES", 1000)  # for speed; the ends hardly move
    chance = np.random.default_rng(n)
    passed = 0
    for seed in range(300):
        drawn = gains("comparison", chance.normal(0, 1, n).tolist())
        passed += decide(drawn, [HELD], "comparison", 5, seed).promote
    assert passed <= 15


@pytest.mark.parametrize("n", [8, 17])
def test_a_long_end_below_passes_no_more_often(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small gains mostly, and losses that a few items hardly show: Student's passes 8 to 11 %."""
    monkeypatch.setattr(interval, "RESAMPLES", 1000)
    chance = np.random.default_rng(n)
    drawn = 1 - chance.exponential(1, (300, n))
    assert sum(paired_interval(one.tolist(), 7).low > 0 for one in drawn) <= 0.07 * 300


def test_much_on_a_few_and_nothing_lost_is_a_gain() -> None:
    """Two new facts among fifteen known ones: the more they gain, the wider Student's interval."""
    values = [0.001, 0.002, 0.003, 0.005, 0.014] * 3 + [1.2, 1.9]
    found = paired_interval(values, 7)
    assert 0 < found.low < found.mean < found.high <= 1.9
    assert not decide(gains("correction", [*values, -1.5]), [HELD], "correction", 5, 7).promote


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_few_gains_of_equals_are_no_proof(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "RESAMPLES", 500)
    chance = np.random.default_rng(n)
    lows = [paired_interval(chance.normal(0, 1, n).tolist(), seed).low for seed in range(1000)]
    assert sum(low > 0 for low in lows) <= 40  # 25 are promised


def test_an_interval_turned_round_is_the_interval_turned_round() -> None:
    values = np.random.default_rng(9).exponential(1, 25).tolist()
    found, turned = (paired_interval([sign * v for v in values], 7) for sign in (1, -1))
    assert (-turned.high, -turned.low) == pytest.approx((found.low, found.high), rel=0.05)


def test_a_clear_gain_passes() -> None:
    drawn = gains("comparison", np.random.default_rng(1).normal(0.3, 0.5, 80).tolist())
    decision = decide(drawn, [HELD], "comparison", 5, 7)
    found = decision.intervals["comparison"]
    assert decision.promote and found.low > 0 and found.low < found.mean < found.high
    assert summary(decision) == (
        f"better on {found.wins} of 80 held-out comparisons, all guards held"
    )


def test_the_same_seed_decides_the_same() -> None:
    values = np.random.default_rng(3).normal(0.1, 1, 30).tolist()
    assert paired_interval(values, 7) == paired_interval(values, 7)


def test_a_regressed_guard_blocks_a_clear_gain() -> None:
    decision = decide(gains("correction", [1.0, 0.9, 1.1] * 9), [HELD, LOST], "correction", 5, 7)
    assert not decision.promote
    assert decision.reasons == ("guard general regressed: answers -2 against -1",)


def test_no_difference_is_no_gain() -> None:
    decision = decide(gains("correction", [0.0] * 40), [HELD], "correction", 5, 7)
    assert "not surely better" in decision.reasons[0]


def test_a_worse_candidate_is_turned_down() -> None:
    decision = decide(gains("comparison", [-0.4, -0.5, -0.3] * 9), [HELD], "comparison", 5, 7)
    assert not decision.promote and "mean gain is -0.400" in summary(decision)


def test_too_few_scored_items_are_no_proof() -> None:
    decision = decide(gains("correction", [1.0] * 4), [HELD], "correction", 5, 7)
    assert decision.reasons == ("4 held-out corrections were scored, 5 are needed",)


def test_a_loss_of_another_kind_blocks() -> None:
    drawn = gains("correction", [1.0, 0.9, 1.1] * 9) + gains("comparison", [-0.5, -0.4] * 9)
    decision = decide(drawn, [HELD], "correction", 5, 7)
    assert len(decision.reasons) == 1 and decision.reasons[0].startswith("worse: on 18 held-out")


def test_a_loss_that_is_sure_and_next_to_nothing_does_not_block() -> None:
    """Seven of seven comparisons won, and 38 corrections that are a whiff less likely."""
    style = gains("comparison", [0.23, 0.24, 0.32, 0.43, 0.45, 0.45, 0.48])
    for loss, promoted in ((0.0003, True), (0.009, True), (0.02, False)):
        known = gains("correction", [-loss, -0.9 * loss, -1.1 * loss] * 12)
        decision = decide([*style, *known], [HELD], "comparison", 5, 7)
        assert decision.intervals["correction"].high < 0
        assert decision.promote == promoted


def test_a_kind_that_shows_nothing_does_not_block() -> None:
    drawn = gains("correction", [1.0, 0.9, 1.1] * 9) + gains("comparison", [-0.5, 0.5])
    assert decide(drawn, [HELD], "correction", 5, 7).promote


HELD_OUT = {"split": "heldout"}


def few(rows: list[Row], primary: str = "comparison", least: int = 2) -> str | None:
    """What is wrong with who gave the rows, all of them scored."""
    items = held_out_items(rows)
    return judged_by_few(items, [Gain(i.kind, i.key, 1.0, 1.0) for i in items], primary, least)


def picks(user: str, **own: object) -> list[Row]:
    return [comparison(0, f"a {n}", f"b {n}", user_id=user, **HELD_OUT, **own) for n in range(6)]


def test_nobody_judges_alone_what_they_taught() -> None:
    others = [rating(1, user_id="usr_b", **HELD_OUT)]
    why = few([*picks("usr_m"), *others])
    assert why == (
        "the 6 held-out comparisons are of 1 user, and who teaches does not judge alone: verdicts "
        "of 2 users are needed (REDRAFT_MIN_USERS), or a reviewer's"
    )
    drawn = gains("comparison", [1.0, 0.9, 1.1] * 9)
    decision = decide(drawn, [HELD], "comparison", 5, 7, why)
    assert not decision.promote and decision.reasons == (why,)


def test_enough_people_or_one_who_is_trusted_may_judge() -> None:
    assert few(picks("usr_m") + picks("usr_b")) is None
    assert few(picks("usr_m") + picks("usr_b"), least=3)
    assert few(picks("usr_m"), least=1) is None
    assert few(picks("usr_local", role="admin")) is None
    assert few(picks("usr_m", review={"verdict": "keep", "text": None})) is None
    assert few([of_corpus("Told.", **HELD_OUT)], "corpus") is None


def test_people_who_say_the_same_both_stand_for_it() -> None:
    same = [correction("x", prompt="q", user_id=user, **HELD_OUT) for user in ("a", "b")]
    (item,) = held_out_items(same)
    assert item.users == {"a", "b"} and few(same, "correction") is None


def test_what_was_not_scored_is_no_judgement() -> None:
    rows = picks("usr_m") + [comparison(0, "long", "b", user_id="usr_b", **HELD_OUT)]
    items = held_out_items(rows)
    scored = [Gain(i.kind, i.key, 1.0, 1.0) for i in items if i.users == {"usr_m"}]
    assert judged_by_few(items, scored, "comparison", 2)
