"""The plots, as Vega-Lite for the renderer that Gradio serves itself: nothing comes from elsewhere.

Text and lines take the page's colour, so that light and dark need no other plot; adapters have
middle tones that stand out from both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gradio.components.plot import PlotData

from serve.page.dashboard.figures import interval, percent
from serve.page.languages import Words

Row = dict[str, Any]
PALETTE = ("#1f8a70", "#c8702a", "#5a7fd0", "#b0559f", "#8a8a2e", "#7a8088")
KINDS = ("rating", "comparison", "correction", "rewrite")  # drawn; shades of one colour
SHADES = dict(zip(KINDS, ("#3f7f9f", "#79a9c0", "#a9c7d6", "#5f6f7a"), strict=True))
_FONT = "system-ui, -apple-system, Segoe UI, Noto Sans, Noto Sans CJK SC, sans-serif"
_FORMATS = {"day": "%m-%d", "week": "%m-%d", "month": "%Y-%m"}


def colours(numbers: Row) -> dict[str, str]:
    """The colour of each adapter that is drawn: those with most thumbs, in the order of names."""
    most = sorted(numbers.get("satisfaction", []), key=lambda row: -row["n"])[: len(PALETTE)]
    names = sorted(row["adapter"] for row in most)
    return dict(zip(names, PALETTE, strict=False))


def satisfaction(rows: Sequence[Row], numbers: Row, t: Words) -> PlotData:
    """The share of thumbs up by adapter over time, each with its interval as a band."""
    known = colours(numbers)
    values = [
        {
            "alone": _alone(row, rows),
            "day": row["from"],
            "adapter": row["adapter"],
            "share": row["share"],
            "low": row["low"],
            "high": row["high"],
            "days": _days(row),
            "told": percent(row["share"]),
            "band": interval(row),
            "n": row["n"],
        }
        for row in rows
        if row["adapter"] in known
    ]
    colour = {
        "field": "adapter",
        "type": "nominal",
        "scale": {"domain": [*known], "range": [*known.values()]},
        "legend": None,  # the page has it above, where it wraps on a phone
    }
    y = {"type": "quantitative", "scale": {"domain": [0, 1]}, "title": None}
    share = {**y, "field": "share", "axis": {"format": ".0%", "tickCount": 5}}
    tooltip = [
        _told("adapter", t("dash_adapter")),
        _told("days", t("dash_day")),
        _told("told", t("dash_satisfaction")),
        _told("band", t("dash_interval")),
        _told("n", t("dash_thumbs")),
    ]
    x = _time(numbers)
    layers: list[Row] = [
        {
            "mark": {"type": "area", "aria": False, "opacity": 0.14},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "line", "aria": False, "strokeWidth": 2},
            "encoding": {"x": x, "y": share},
        },
        {
            "mark": {"type": "point", "aria": False, "filled": True, "size": 46, "opacity": 1},
            "encoding": {
                "x": x,
                "y": share,
                "shape": {"field": "adapter", "type": "nominal", "legend": None},
                "tooltip": tooltip,
            },
        },
    ]
    if any(value["alone"] for value in values):
        # A band of one day has no width: there its interval is a line.
        alone = {"transform": [{"filter": {"field": "alone", "equal": True}}]}
        layers.append(
            {**layers[0], **alone, "mark": {"type": "rule", "aria": False, "opacity": 0.4}}
        )
    for layer in layers:
        layer["encoding"] = {**layer["encoding"], "color": colour}
    return _plot(values, {"layer": layers, "height": 240}, t("dash_satisfaction_plot"))


def volume(rows: Sequence[Row], numbers: Row, t: Words) -> PlotData:
    """Verdicts over time by kind; what people did without a word is in the table only."""
    values = [
        {"day": row["from"], "kind": t(f"dash_kind_{row['kind']}"), "n": row["n"],
         "days": _days(row), "order": KINDS.index(row["kind"])}
        for row in rows
        if row["kind"] in KINDS
    ]  # fmt: skip
    kinds = [t(f"dash_kind_{kind}") for kind in KINDS]
    encoding = {
        "x": _time(numbers),
        "y": {"field": "n", "type": "quantitative", "title": None, "axis": {"tickMinStep": 1}},
        "order": {"field": "order"},
        "color": {
            "field": "kind",
            "type": "nominal",
            "scale": {"domain": kinds, "range": [*SHADES.values()]},
            "legend": None,
        },
        "tooltip": [
            _told("days", t("dash_day")),
            _told("kind", t("dash_kind")),
            _told("n", t("dash_number")),
        ],
    }
    mark = {"type": "bar", "aria": False, "width": {"band": 0.8}, "minBandSize": 2}
    return _plot(values, {"mark": mark, "encoding": encoding, "height": 150}, t("dash_volume_plot"))


def _time(numbers: Row) -> Row:
    unit = "utcyearmonth" if numbers["step"] == "month" else "utcyearmonthdate"
    axis = {
        "format": _FORMATS[numbers["step"]],
        "grid": False,
        "labelOverlap": True,
        "labelBound": True,
    }
    return {"field": "day", "type": "temporal", "timeUnit": unit, "title": None, "axis": axis}


def _alone(row: Row, rows: Sequence[Row]) -> bool:
    return [other["adapter"] for other in rows].count(row["adapter"]) == 1


def _told(field: str, title: str) -> Row:
    return {"field": field, "type": "nominal", "title": title}


def _days(row: Row) -> str:
    return row["from"] if row["from"] == row["to"] else f"{row['from']} – {row['to']}"


def _plot(values: list[Row], spec: Row, description: str) -> PlotData:
    text = {"labelColor": "currentColor", "labelFontSize": 12, "labelFont": _FONT}
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": description,
        "data": {"values": values},
        "width": "container",
        "autosize": {"type": "fit", "contains": "padding"},
        "background": "transparent",
        "usermeta": {"embedOptions": {"actions": False, "renderer": "svg"}},
        "config": {
            "view": {"stroke": None},
            "axis": {
                **text,
                "aria": False,
                "domain": False,
                "ticks": False,
                "gridColor": "currentColor",
                "gridOpacity": 0.16,
                "labelPadding": 8,
            },
            "aria": False,  # the description, and the same numbers in a table, say it better
        },
        **spec,
    }
    return PlotData(type="altair", plot=json.dumps(whole))
