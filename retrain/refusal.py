"""When a run refuses to train: too little feedback, or feedback that points one way only."""

from collections.abc import Mapping, Sequence
from math import ceil

from retrain.datasets import Example
from retrain.parts import on_reasoning
from retrain.recipe import Recipe
from retrain.rows import CORPUS, Row, counts, is_train, picked, unfinished
from serve.settings import Settings

MEASURE = {
    CORPUS: CORPUS,
    "correction": "correction",
    "pick": "comparison",
    "thumb": "rating",
    "reasoning_correction": "reasoning_correction",
    "reasoning_thumb": "reasoning_rating",
}
PLURAL = {
    CORPUS: "questions of the corpus",
    "correction": "corrections",
    "comparison": "decided comparisons",
    "rating": "thumbs",
    "reasoning_correction": "corrections of reasonings",
    "reasoning_rating": "thumbs on reasonings",
}


class Refusal(Exception):
    """There is not enough to learn from; the message says what is missing and how much."""


def check_supply(
    recipe: Recipe,
    found: Mapping[str, Sequence[Example]],
    rows: Sequence[Row],
    heldout: Mapping[str, int],
    settings: Settings,
    held: Mapping[str, int],
    beyond: int = 0,
) -> str:
    """The primary measure: the corpus where the recipe trains on one, else, of what it trains for,
    the one with most held-out items.

    It is fixed here, before anything is trained. `rows` are the curated ones, `heldout` the number
    of items by kind of feedback, `held` the rows in quarantine by reason, `beyond` how many were
    left out as one user gave more than others did. Raises Refusal.
    """
    train = [row for row in rows if is_train(row)]
    if not train:
        raise Refusal(" ".join(filter(None, [_nothing(rows, settings), _held(held)])))
    problems = list(filter(None, [_one_sided(train), _too_few(recipe, found, train, settings)]))
    trained = [e["signal"] for stage in recipe.stages for e in stage.examples(found)]
    kinds = sorted({MEASURE[signal] for signal in trained}) or ["correction", "comparison"]
    primary = max(kinds, key=lambda kind: (kind == CORPUS, heldout.get(kind, 0)))
    problems += filter(None, [_heldout_short(primary, heldout.get(primary, 0), settings)])
    if problems:
        raise Refusal(" ".join(filter(None, [*problems, _held(held), _beyond(beyond)])))
    return primary


def _held(held: Mapping[str, int]) -> str | None:
    if not held:
        return None
    reasons = ", ".join(f"{n} {reason}" for reason, n in held.items())
    return (
        f"{sum(held.values())} more rows wait in quarantine ({reasons}). They count once others "
        "teach the same, or a reviewer does (`redraft user role NAME reviewer`); REDRAFT_MIN_USERS "
        "is how many users it takes."
    )


def _beyond(rows: int) -> str | None:
    if not rows:
        return None
    return (
        f"{rows} more rows are left out, as one user gave more than all others, and nobody teaches "
        "everybody alone. They count once others give feedback too, or a reviewer keeps them."
    )


def _nothing(rows: Sequence[Row], settings: Settings) -> str:
    what = f"only {len(rows)} held-out rows" if rows else "none"
    return (
        f"No feedback to learn from yet ({what}). At least {settings.min_rows} training rows are "
        "needed: correct answers, pick between drafts, rate answers."
    )


def _one_sided(train: Sequence[Row]) -> str | None:
    if any(row["kind"] in ("correction", CORPUS) or picked(row) for row in train):
        return None
    ratings = [row for row in train if row["kind"] == "rating"]
    if not ratings:
        return (
            f"The feedback is one-sided: all {len(train)} comparisons are ties or both bad, so "
            "nothing shows what is better. Missing: corrections, or comparisons with a winner."
        )
    shown, reasonings = ([r for r in ratings if on_reasoning(r) is part] for part in (False, True))
    found = [_alike(part) for part in (shown, reasonings) if part]
    return None if None in found else found[0]


def _alike(ratings: Sequence[Row]) -> str | None:
    """What is wrong with thumbs that all point one way."""
    values = [row["payload"]["value"] for row in ratings]
    ups = sum(value > 0 for value in values)
    if ups == len(values):
        return (
            f"The feedback is one-sided: all {ups} ratings are thumbs up, so nothing shows what to "
            "do better. Missing: thumbs down, corrections, or comparisons with a winner."
        )
    if ups == 0:
        return (
            f"The feedback is one-sided: all {len(values)} ratings are thumbs down, so nothing "
            "shows what a good answer is. Missing: corrections, comparisons with a winner, or "
            "thumbs up."
        )
    return None


def _too_few(
    recipe: Recipe,
    found: Mapping[str, Sequence[Example]],
    train: list[Row],
    settings: Settings,
) -> str | None:
    used = {e["feedback_id"] for stage in recipe.stages for e in stage.examples(found)}
    short = settings.min_rows - len(used)
    if short <= 0:
        return None
    given = ", ".join(f"{n} {PLURAL.get(kind, kind)}" for kind, n in counts(train, "kind").items())
    cut = sum(map(unfinished, train))
    why = (
        f" {cut} comparisons are of answers that were all cut off: raise max_tokens, and ask "
        "without stop strings."
        if cut
        else ""
    )
    return (
        f"Too little to train on: {len(used)} usable training rows (of {given}); at least "
        f"{settings.min_rows} are needed, {short} more.{why}"
    )


def _heldout_short(primary: str, have: int, settings: Settings) -> str | None:
    short = settings.min_heldout - have
    if short <= 0:
        return None
    share = settings.holdout_share
    if primary == CORPUS:
        return (
            f"Too little to judge by: {have} held-out {PLURAL[primary]}; the gate needs at least "
            f"{settings.min_heldout}. Write it with more documents, or hold out a larger share: "
            "REDRAFT_HOLDOUT_SHARE=0.3 redraft corpus write."
        )
    more = (
        f"about {ceil(short / share)} more {PLURAL[primary]}"
        if share
        else "a REDRAFT_HOLDOUT_SHARE"
    )
    return (
        f"Too little to judge by: {have} held-out {PLURAL[primary]}; the gate needs at least "
        f"{settings.min_heldout}. About {share:.0%} of the conversations are held out, so {more} "
        "in new conversations are needed."
    )
