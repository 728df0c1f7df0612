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
    new, old, limit = compared(bench, faults, allowed)
    detail = f"{len(new)} of {count} answers {what}, at most {limit} allowed"
    if new:
        detail += f"; the first: {new[0]}"
    champion = float(len(old)) if old is not None else None
    return Guard(name, len(new) <= limit, champion, float(len(new)), limit, detail)


def compared(
    bench: Bench, faults: Callable[[str | None], Sequence[str]], allowed: int
) -> tuple[Sequence[str], Sequence[str] | None, int]:
    """(the candidate's faults, the champion's where they were asked for, the most that hold).

    What the others write only matters when the candidate's answers are in doubt.
    """
    new = faults(bench.candidate)
    if len(new) <= allowed:
        return new, None, allowed
    old = faults(bench.champion)
    base = faults(None) if bench.champion else old
    return new, old, most(len(old), len(base), allowed)


def most(champion: int, base: int, allowed: int) -> int:
    """The most faults that hold. An equal of the champion always does."""
    return min(champion + allowed, max(champion, base + 2 * allowed))
