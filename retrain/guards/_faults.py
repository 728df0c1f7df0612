"""Faults in what is written: the candidate may have the champion's and a few."""

from collections.abc import Callable, Sequence

from retrain.guards import Bench, Guard


def check_faults(
    bench: Bench,
    name: str,
    faults: Callable[[str | None], Sequence[str]],
    count: int,
    what: str,
    allowed: int = 1,  # one of twelve is chance
) -> Guard:
    """Hold unless the candidate has more faults than the champion and `allowed`, nor more than the
    base and twice that: many small steps are no way down.

    `faults` tells those of an adapter, each in words; `count` is how many answers it looks at, and
    `what` is wrong with some.
    """
    new = faults(bench.candidate)
    # What the others write only matters when the candidate's answers are in doubt.
    old = faults(bench.champion) if len(new) > allowed else None
    limit = allowed
    if old is not None:
        base = faults(None) if bench.champion else old
        limit = most(len(old), len(base), allowed)
    detail = f"{len(new)} of {count} answers {what}, at most {limit} allowed"
    if new:
        detail += f"; the first: {new[0]}"
    champion = float(len(old)) if old is not None else None
    return Guard(name, len(new) <= limit, champion, float(len(new)), limit, detail)


def most(champion: int, base: int, allowed: int) -> int:
    """The most faults that hold. An equal of the champion always does."""
    return min(champion + allowed, max(champion, base + 2 * allowed))
