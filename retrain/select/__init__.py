"""Which training rows a run learns from when there are more than it needs, one file a way.

A way is `choose(rows, most, means) -> indices`, at most `most` of them; `NEEDS_ENGINE` says whether
it scores texts. Rows are chosen within each kind of verdict, so that its share stays: thumbs up do
not push thumbs down out. Feedback that the adapter to go on from has learned gets `earlier` of the
room, and is drawn by lot, others for each such adapter: it is there so that nothing is forgotten,
not to be learned anew.
"""

import importlib
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from retrain.rows import Row, is_train, picked
from serve.engines.base import Engine

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Means:
    """What a way may use; the engine is None where it asked for none."""

    engine: Engine | None = None
    champion: str | None = None  # that the run goes on from; None: it begins at the base
    tick: Tick = lambda step, total: None


def select(
    rows: Sequence[Row], way: str, most: int, earlier: float, seen: int, means: Means
) -> list[Row]:
    """The held-out rows and at most `most` of the training rows, in order.

    `seen` is the last event that was learned already, 0 where a run begins at the base; of `most`,
    the share `earlier` is for feedback up to there, and what one side does not need the other one
    gets.
    """
    train = [row for row in rows if is_train(row)]
    if len(train) <= most:
        return list(rows)
    old, new = ([r for r in train if (r["seq"] <= seen) is before] for before in (True, False))
    for_old = min(len(old), max(round(earlier * most), most - len(new)))
    kept = _drawn(old, for_old, seen) + _chosen(new, way, most - for_old, means)
    stay = {row["feedback_id"] for row in kept}
    return [row for row in rows if not is_train(row) or row["feedback_id"] in stay]


def needs_engine(way: str) -> bool:
    """Whether the way scores texts."""
    return bool(_module(way).NEEDS_ENGINE)


def names() -> list[str]:
    """The ways in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def verdict(row: Row) -> str:
    """What the row says: correction, pick, thumb up, thumb down, or nothing to learn from."""
    if row["kind"] == "rating":
        return "thumb up" if row["payload"]["value"] > 0 else "thumb down"
    if row["kind"] == "comparison":
        return "pick" if picked(row) else "no winner"
    return str(row["kind"])


def _drawn(rows: Sequence[Row], most: int, seen: int) -> list[Row]:
    return random.Random(seen).sample(list(rows), most)  # noqa: S311


def _chosen(rows: Sequence[Row], way: str, most: int, means: Means) -> list[Row]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[verdict(row)].append(row)
    found: list[Row] = []
    left, room = len(rows), most
    for kind in sorted(groups):
        share = round(room * len(groups[kind]) / left)
        left, room = left - len(groups[kind]), room - share
        found += [groups[kind][i] for i in _module(way).choose(groups[kind], share, means)]
    return found


def _module(way: str) -> ModuleType:
    return importlib.import_module(f"retrain.select.{way}")
