"""Drawing tokens: what the cuts keep, and that draws follow the distribution."""

from collections import Counter
from typing import Any

import pytest
import torch

from serve.engines.base import Sampling
from serve.engines.sampler import HEAD, Sampler

PROBS = [0.5, 0.25, 0.15, 0.06, 0.04]


def draw(probs: torch.Tensor, count: int, **sampling: Any) -> Counter[int]:
    """How often each token comes."""
    settings = Sampling(**{"max_tokens": count + 1, "temperature": 1.0, "seed": 4, **sampling})
    sampler = Sampler(settings, frozenset(), lambda ids: "", count + 1)
    logits = probs.log()[None]
    return Counter(sampler.draw(logits)[2][0] for _ in range(count))


def test_draws_follow_the_distribution() -> None:
    found = draw(torch.tensor(PROBS), 2000)
    for token, share in enumerate(PROBS):
        assert found[token] / 2000 == pytest.approx(share, abs=0.04)


def test_a_token_without_probability_never_comes() -> None:
    assert set(draw(torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]), 200)) == {1, 3}


@pytest.mark.parametrize(
    "cut, kept",
    [
        ({"top_p": 0.5}, {0}),
        ({"top_p": 0.6}, {0, 1}),
        ({"top_p": 0.91}, {0, 1, 2, 3}),
        ({"top_k": 3}, {0, 1, 2}),
        ({"top_k": 3, "top_p": 0.8}, {0, 1}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
    ],
)
def test_cuts_keep_the_likeliest(cut: dict[str, Any], kept: set[int]) -> None:
    assert set(draw(torch.tensor(PROBS), 400, **cut)) == kept


def test_a_flat_distribution_has_a_wide_nucleus() -> None:
    size = 4 * HEAD
    found = draw(torch.full((size,), 1 / size), 300, top_p=0.75)
    assert len(found) > 200
    assert max(found.values()) < 5
