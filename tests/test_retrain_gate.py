"""The gate: how often it errs on equal models, what it lets pass, what blocks."""

import numpy as np
import pytest

from retrain.evaluate import interval
from retrain.evaluate.interval import paired_interval, student_t
from retrain.evaluate.measure import Gain
from retrain.gate import decide, summary
from retrain.guards import Guard

HELD = Guard("general", True, -1.0, -1.1, -1.2, "fine")
LOST = Guard("general", False, -1.0, -2.0, -1.2, "answers -2 against -1")


def gains(kind: str, values: list[float]) -> list[Gain]:
    return [Gain(kind, f"{kind}{n}", value, 10 * value) for n, value in enumerate(values)]


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.706), (4, 2.776), (30, 2.042)])
def test_students_quantile(freedom: int, expected: float) -> None:
    assert student_t(0.975, freedom) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("n", [5, 12, 60])
def test_equal_models_pass_in_five_percent_at_most(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "RESAMPLES", 1000)  # for speed; the ends hardly move
    chance = np.random.default_rng(n)
    passed = 0
    for seed in range(300):
        drawn = gains("comparison", chance.normal(0, 1, n).tolist())
        passed += decide(drawn, [HELD], "comparison", 5, seed).promote
    assert passed <= 15


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


def test_a_kind_that_shows_nothing_does_not_block() -> None:
    drawn = gains("correction", [1.0, 0.9, 1.1] * 9) + gains("comparison", [-0.5, 0.5])
    assert decide(drawn, [HELD], "correction", 5, 7).promote
