"""The three values that the browser gets beside the plots: head, shares, and the rest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serve.page.dashboard import figures, plots
from serve.page.dashboard.board import PERIODS, Board
from serve.page.languages import DEFAULT, catalogue

View = dict[str, Any]
HEAD = "dashboard_head.html"


def head(board: Board) -> View:
    """Why there is nothing to see; or the four numbers and the last run's story."""
    return _view(board, HEAD, busy=_busy(board))


def shares(board: Board) -> View:
    """Under the plot of satisfaction: the same in numbers, and the comparisons."""
    return _view(board, "dashboard_shares.html")


def rest(board: Board) -> View:
    """Under the plot of volume: what was learned, runs, adapters, the schedule; rows in a list."""
    behind = board.behind
    rows = _html(board, "dashboard_rows.html", behind=behind) if behind else ""
    return _view(board, "dashboard_rest.html", rows=rows)


def _view(board: Board, template: str, **more: Any) -> View:
    told = board.numbers and not board.refused or template == HEAD and board.refused
    html = _html(board, template) if told else ""  # rows may be asked for before the numbers
    return {"revision": board.next_revision(), "html": html, **more}


def _html(board: Board, template: str, **more: Any) -> str:
    return _templates().get_template(template).render(
        t=board.words, board=board, numbers=board.numbers, periods=PERIODS,
        known=_names("dash_kind_"), told=_names("dash_outcome_"),
        colours=plots.colours(board.numbers), shades=plots.SHADES,
        local=lambda moment: figures.local(moment, board.utc_offset),
        **more,
    )  # fmt: skip


def _busy(board: Board) -> bool:
    return any(run["state"] == "running" for run in board.runs)


@lru_cache
def _names(prefix: str) -> frozenset[str]:
    """What there are words for; an API of another version may have more."""
    return frozenset(key.removeprefix(prefix) for key in catalogue(DEFAULT) if prefix in key)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("percent", "interval", "took", "duration"):
        made.filters[name] = getattr(figures, name)
    made.globals["rows"] = figures.address
    return made
