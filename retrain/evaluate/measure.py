"""Scoring items under candidate and champion, with the engine that serves.

**The number of an item** is a difference of differences: how much more the candidate prefers what
the user stood for than the champion does.

    value(model) = mean log-probability per token of the good text - the same of the bad texts
    gain         = value(candidate) - value(champion)

A correction has no bad text, so its gain is the rise of its log-likelihood per token.

Why per token and not summed: DPO's implicit reward margin is the *sum*, and both are reported. But
where users like the shorter draft, the sum rewards damage: a model that lost 0.1 nat on every token
loses more on the longer, rejected text, and so "prefers" the shorter one. Per token, such a loss
cancels out, while what DPO really moves (the end of turn comes earlier, the words of the rejected
style lose) remains. A candidate trained on flipped labels has a negative gain either way.

Ratings are weighted so that thumbs up and thumbs down have equal say; otherwise, where most thumbs
are up, a model that merely writes old answers more readily would win.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from retrain.evaluate.items import RATINGS, Item, Passage
from serve.engines.base import Engine

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Gain:
    """What the candidate gained on one item; nats per token, and nats."""

    kind: str
    key: str
    gain: float
    gain_sum: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    engine: Engine,
    items: Sequence[Item],
    champion: str | None,
    candidate: str,
    tick: Tick = lambda step, total: None,
) -> list[Gain]:
    """The gain on every item that fits the engine's window, in order."""
    score = _scorer(engine)
    gains: list[Gain] = []
    for index, item in enumerate(items):
        prompt = _prompt(engine, item)
        passages = {p: _tokens(engine, p) for p in item.good + item.bad}
        longest = max(map(len, passages.values()))
        if all(passages.values()) and len(prompt) + longest <= engine.context_window:
            new = _value(score, item, prompt, passages, candidate)
            old = _value(score, item, prompt, passages, champion)
            gains.append(Gain(item.kind, item.key, new[0] - old[0], new[1] - old[1]))
        tick(index + 1, len(items))
    return list(_balanced(gains, items))


def _prompt(engine: Engine, item: Item) -> tuple[int, ...]:
    chat = tuple(engine.encode_chat(list(item.messages)))
    return chat + _tokens(engine, item.after) if item.after else chat


def _tokens(engine: Engine, passage: Passage) -> tuple[int, ...]:
    return passage.token_ids or tuple(engine.encode(passage.text))


Score = Callable[[tuple[int, ...], tuple[int, ...], str | None], tuple[float, float]]


def _scorer(engine: Engine) -> Score:
    @lru_cache(maxsize=4096)  # drafts of one turn are compared by many
    def score(
        prompt: tuple[int, ...], tokens: tuple[int, ...], adapter: str | None
    ) -> tuple[float, float]:
        logprobs = engine.score(list(prompt), list(tokens), adapter)
        return sum(logprobs) / len(logprobs), sum(logprobs)

    return score


def _value(
    score: Score,
    item: Item,
    prompt: tuple[int, ...],
    passages: dict[Passage, tuple[int, ...]],
    adapter: str | None,
) -> tuple[float, float]:
    """(mean per token, sum) of the good text, minus the mean of the bad texts'."""
    mean = total = 0.0
    for sign, side in ((1.0, item.good), (-1.0, item.bad)):
        for passage in side:
            per_token, summed = score(prompt, passages[passage], adapter)
            mean += sign * per_token / len(side)
            total += sign * summed / len(side)
    return mean, total


def _balanced(gains: Sequence[Gain], items: Sequence[Item]) -> Iterator[Gain]:
    up = {item.key for item in items if item.kind in RATINGS and item.good}
    thumbs = Counter((gain.kind, gain.key in up) for gain in gains)
    for gain in gains:
        if gain.kind not in RATINGS:
            yield gain
            continue
        alike, others = (thumbs[gain.kind, side] for side in (gain.key in up, gain.key not in up))
        weight = (alike + others) / (2 * alike)
        yield Gain(gain.kind, gain.key, gain.gain * weight, gain.gain_sum * weight)
