"""Numbers and moments in the words of the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode


def percent(share: float | None) -> str:
    """0.666 as "67 %"; a dash for what is not known."""
    return "–" if share is None else f"{share:.0%}".replace("%", "\u202f%")


def interval(row: Mapping[str, Any]) -> str:
    """The ends of a share's interval."""
    return f"{percent(row['low'])} – {percent(row['high'])}" if row["n"] else "–"


def local(moment: str | None, offset: int) -> str:
    """A moment of the API on the reader's clock; `offset` is in minutes east of UTC."""
    if not moment:
        return "–"
    there = datetime.fromisoformat(moment) + timedelta(minutes=offset)
    return there.strftime("%Y-%m-%d %H:%M")


def address(**given: str | None) -> str:
    """The place in the page where the rows of this filter are listed."""
    return "dashboard#rows?" + urlencode({name.rstrip("_"): v for name, v in given.items() if v})


def duration(seconds: float) -> str:
    """Seconds as 1:05 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def took(begin: str, end: str | None) -> str:
    """How long it was from one moment to another."""
    if end is None:
        return "–"
    passed = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
    return duration(passed.total_seconds())
