"""A rewriter that follows another says follow-ups no worse, and leaves whole questions alone.

Only for a rewriter adapter: the adapters of a run answer, and never rewrite. `rewriter.jsonl` holds
follow-ups in their conversation, some of which stand alone already, with what a person would make
of them. Judged is the mean over them of insert-F1 where words are to be put in, and of being left
as it is where none are; it may fall by MARGIN against the rewriter that serves.
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from prompts import load_prompt
from retrain.guards import Bench, Guard
from retrain.guards._pairs import pairs
from retrain.rewriter_scores import insert_f1, rewritten, same, unchanged

MARGIN = 0.1
PROMPT = "rewrite/adapter"


def check(bench: Bench) -> Guard | None:
    """Hold while the new rewriter's mean is within the margin below the serving one's."""
    if bench.rewriters is None:
        return None
    serving, candidate = bench.rewriters
    new, old = _mean(bench, candidate), _mean(bench, serving)
    limit = round(old - MARGIN, 3)
    detail = f"rewrites score {new:.3f}, those of what serves now {old:.3f}, margin {MARGIN}"
    return Guard("rewriter", new >= limit, old, new, limit, detail)


def _mean(bench: Bench, adapter: str | None) -> float:
    prompt, scores = load_prompt(PROMPT), []
    for row in pairs("rewriter"):
        scores.append(_score(row, rewritten(bench.engine, prompt, row, adapter)))
        bench.beat()
    return round(fmean(scores), 3)


def _score(row: Mapping[str, Any], text: str) -> float:
    if unchanged(row):
        return float(same(text, row["query"]))
    return insert_f1(row["query"], text, row["rewrite"])
