"""The report of a run for people: one HTML file that asks for nothing from anywhere else.

It says what `report.json` says, with what the other steps of the run left in their manifests. All
texts are escaped; plots are SVG in the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from retrain.evaluate.items import Item
from retrain.evaluate.measure import Gain
from retrain.gate import NOUN
from retrain.report.pages import page
from retrain.report.scale import Scale, around

SHOWN = 5  # items with the largest gains, and as many with the largest losses


def render(
    run_id: str,
    report: Mapping[str, Any],
    done: Mapping[str, Mapping[str, Any]],
    gains: Sequence[Gain],
    items: Sequence[Item],
) -> str:
    """The page. `done` holds the manifests of the steps before the gate, by their names."""
    primary = [gain for gain in gains if gain.kind == report["primary"]]
    return page("report.html.j2").render(
        run=run_id,
        report=report,
        done=done,
        noun=NOUN,
        intervals=_primary_first(report),
        scale=around([end for one in report["intervals"].values() for end in _ends(one)]),
        bars=sorted((gain.gain for gain in primary), reverse=True),
        bar_scale=around([gain.gain for gain in primary]),
        guards=[_guard(guard) for guard in report["guards"]],
        steps=[*done["snapshot"]["steps"], *done["curate"]["steps"]],
        examples=_examples(primary, items),
    )


def _primary_first(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found = report["intervals"].items()
    return sorted(found, key=lambda one: (one[0] != report["primary"], one[0]))


def _ends(interval: Mapping[str, Any]) -> list[float]:
    return [interval[end] for end in ("low", "mean", "high")]


def _guard(guard: Mapping[str, Any]) -> dict[str, Any]:
    """The guard with the scale on which its numbers stand."""
    known = [guard[name] for name in ("champion", "candidate", "limit") if guard[name] is not None]
    return {**guard, "scale": Scale(min(known), max(known), margin=0.15)}


def _examples(gains: Sequence[Gain], items: Sequence[Item]) -> list[dict[str, Any]]:
    """The items that the candidate gained and lost most on, in this order."""
    known = {(item.kind, item.key): item for item in items}
    ranked = sorted((g for g in gains if (g.kind, g.key) in known), key=lambda g: -g.gain)
    chosen = ranked[:SHOWN] + [g for g in ranked[SHOWN:][-SHOWN:] if g.gain < 0]
    return [asdict(gain) | _texts(known[gain.kind, gain.key]) for gain in chosen]


def _texts(item: Item) -> dict[str, Any]:
    return {
        "asked": item.messages[-1]["content"],
        "good": [passage.text for passage in item.good],
        "bad": [passage.text for passage in item.bad],
    }
