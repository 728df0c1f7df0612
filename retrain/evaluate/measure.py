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

Ratings are two samples, answers rated up and answers rated down, whose mean gain is half the rise
of the one less the rise of the other: what rises or falls with all old answers cancels out. So that
it does so in each number as well, and not in the mean alone, gains are counted from the middle of
the two mean rises. Thumbs up and thumbs down have equal say however many there are of each.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any

from retrain.evaluate.items import RATINGS, Item, Passage
from serve.engines.base import Engine

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Gain:
    """What the candidate gained on one item; nats per token, and nats.

    `side` is "up" or "down" of a rating, whose gains are of two samples.
    """

    kind: str
    key: str
    gain: float
    gain_sum: float
    side: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """One text: its tokens, and its log-probability under candidate and champion."""

    tokens: int
    candidate: float
    champion: float


@dataclass(frozen=True)
class Scored:
    """An item's texts, scored."""

    kind: str
    key: str
    good: tuple[Scores, ...]
    bad: tuple[Scores, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    engine: Engine,
    items: Sequence[Item],
    champion: str | None,
    candidate: str,
    tick: Tick = lambda step, total: None,
) -> list[Scored]:
    """The scores of every item that fits the engine's window, in order."""
    score = _scorer(engine)
    found: list[Scored] = []
    for index, item in enumerate(items):
        prompt = _prompt(engine, item)
        passages = {p: _tokens(engine, p) for p in item.good + item.bad}
        longest = max(map(len, passages.values()))
        if all(passages.values()) and len(prompt) + longest <= engine.context_window:
            good, bad = (
                tuple(
                    Scores(len(tokens), *(score(prompt, tokens, a) for a in (candidate, champion)))
                    for tokens in map(passages.__getitem__, side)
                )
                for side in (item.good, item.bad)
            )
            found.append(Scored(item.kind, item.key, good, bad))
        tick(index + 1, len(items))
    return found


def gains(scored: Sequence[Scored]) -> list[Gain]:
    """What the candidate gained on each item."""
    return list(_balanced([_gain(item) for item in scored], scored))


def _prompt(engine: Engine, item: Item) -> tuple[int, ...]:
    chat = tuple(engine.encode_chat(list(item.messages)))
    return chat + _tokens(engine, item.after) if item.after else chat


def _tokens(engine: Engine, passage: Passage) -> tuple[int, ...]:
    return passage.token_ids or tuple(engine.encode(passage.text))


def _scorer(engine: Engine) -> Callable[[tuple[int, ...], tuple[int, ...], str | None], float]:
    @lru_cache(maxsize=4096)  # drafts of one turn are compared by many
    def score(prompt: tuple[int, ...], tokens: tuple[int, ...], adapter: str | None) -> float:
        return sum(engine.score(list(prompt), list(tokens), adapter))

    return score


def _gain(item: Scored) -> Gain:
    """(mean per token, sum) of the good text, minus the mean of the bad texts', as differences."""
    mean = total = 0.0
    for sign, side in ((1.0, item.good), (-1.0, item.bad)):
        for text in side:
            rise = text.candidate - text.champion
            mean += sign * rise / text.tokens / len(side)
            total += sign * rise / len(side)
    return Gain(item.kind, item.key, mean, total)


def _balanced(gains: Sequence[Gain], scored: Sequence[Scored]) -> Iterator[Gain]:
    up = {item.key for item in scored if item.kind in RATINGS and item.good}
    found: dict[tuple[str, str], Gain] = {}
    for kind in RATINGS:
        rated = [gain for gain in gains if gain.kind == kind]
        ups = [gain for gain in rated if gain.key in up]
        downs = [gain for gain in rated if gain.key not in up]
        found |= {(kind, gain.key): gain for gain in _two_samples(ups, downs)}
    yield from (found.get((gain.kind, gain.key), gain) for gain in gains)


def _two_samples(up: Sequence[Gain], down: Sequence[Gain]) -> Iterator[Gain]:
    """Gains of ratings from the middle of both sides' rises; each side has half the weight."""
    middle, middle_sum = _middle(up, down, "gain"), _middle(up, down, "gain_sum")
    for side, sign, own in (("up", 1, up), ("down", -1, down)):
        for gain in own:
            weight = (len(up) + len(down)) / (2 * len(own))
            mean = weight * (gain.gain - sign * middle)
            total = weight * (gain.gain_sum - sign * middle_sum)
            yield Gain(gain.kind, gain.key, mean, total, side)


def _middle(up: Sequence[Gain], down: Sequence[Gain], name: str) -> float:
    """The rise that answers of both sides have in common; 0 where one side is missing."""
    if not up or not down:
        return 0.0
    # A gain is the rise of an answer rated up, and the fall of one rated down.
    return (fmean(getattr(g, name) for g in up) - fmean(getattr(g, name) for g in down)) / 2
