"""Right answers against wrong ones of the same form, scored and not written: two passes a pair."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from retrain.guards import Bench, Guard, Messages, asked
from retrain.manifest import read_rows

Pair = dict[str, Any]  # {question, answer, wrong, kind?, history?: the messages before}


def pairs(name: str) -> list[Pair]:
    """The pairs in the file of that name beside the guards."""
    return read_rows(Path(__file__).with_name(f"{name}.jsonl"))


def leanings(bench: Bench, found: Sequence[Pair], adapter: str | None) -> list[float]:
    """For each pair how much likelier the right answer is than the wrong one, nats per token."""
    return [_leaning(bench, pair, adapter) for pair in found]


def _leaning(bench: Bench, pair: Pair, adapter: str | None) -> float:
    messages: Messages = [*pair.get("history", ()), *asked(pair["question"])]
    prompt = bench.engine.encode_chat(list(messages))
    right, wrong = (
        fmean(bench.engine.score(prompt, bench.engine.encode(pair[side]), adapter))
        for side in ("answer", "wrong")
    )
    bench.beat()
    return right - wrong


def least(champion: float, base: float, margin: float) -> float:
    """The lowest value that holds: `margin` below the champion, and not beyond twice that below the
    base, so that many small steps are no way down. An equal of the champion always holds."""
    return max(champion - margin, min(champion, base - 2 * margin))


def check_kinds(bench: Bench, name: str, margin: float, noun: str) -> Guard:
    """Judge the file's pairs by kind: how far each kind's mean leaning may fall says `least`.

    A candidate that says the same to everything gains in one kind what it loses in the other.
    The numbers are those of the kind that has least to spare.
    """
    found = pairs(name)
    adapters = bench.candidate, bench.champion, None
    known = {adapter: leanings(bench, found, adapter) for adapter in set(adapters)}
    new, old, base = map(known.__getitem__, adapters)
    means: dict[str, tuple[float, float, float]] = {}
    for kind in dict.fromkeys(pair["kind"] for pair in found):
        own = [i for i, pair in enumerate(found) if pair["kind"] == kind]
        now, before, first = (fmean(side[i] for i in own) for side in (new, old, base))
        means[kind] = now, before, least(before, first, margin)
    now, before, limit = min(means.values(), key=lambda one: one[0] - one[2])
    told = ", ".join(f"{n - b:+.2f} on {kind}" for kind, (n, b, _) in means.items())
    detail = f"{noun} changed by {told} (nats per token), {limit - before:+.2f} is allowed"
    return Guard(name, now >= limit, round(before, 3), round(now, 3), round(limit, 3), detail)
