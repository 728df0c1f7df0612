"""What one tab with the dashboard looks at; the numbers themselves live in the API only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from serve.page.languages import DEFAULT, Words

PERIODS = {7: "day", 30: "day", 90: "week", 365: "month"}  # days: the step they are drawn in
Json = dict[str, Any]


@dataclass
class Behind:
    """The rows behind a number, as far as they were asked for."""

    source: str  # "" for the feedback of the record, else the run that froze them
    query: dict[str, str]
    found: list[Json] = field(default_factory=list)
    more: bool = False
    problem: str = ""


@dataclass
class Board:
    """The state of one tab."""

    days: int = 30
    numbers: Json = field(default_factory=dict)
    runs: list[Json] = field(default_factory=list)
    adapters: Json = field(default_factory=dict)
    schedule: Json = field(default_factory=dict)
    learned: Json = field(default_factory=dict)
    chosen: str = ""  # the run that was asked about; "": that of `told`
    behind: Behind | None = None
    refused: str = ""  # why there is nothing to see
    notice: str = ""  # what an action came to
    failed: bool = False  # whether that was nothing good
    owner: str = ""  # the token of the session under which the tab was begun
    utc_offset: int = 0  # minutes east of Greenwich
    language: str = DEFAULT
    revision: int = 0

    @property
    def words(self) -> Words:
        """What to say to this person."""
        return Words(self.language)

    def next_revision(self) -> int:
        """A number above all earlier ones, those before a restart of the page too."""
        self.revision = max(self.revision + 1, int(time.time() * 1000))
        return self.revision

    def begin(self, owner: str) -> None:
        """Forget what another person saw here."""
        self.owner, self.numbers, self.runs, self.adapters = owner, {}, [], {}
        self.schedule, self.learned, self.chosen = {}, {}, ""
        self.behind, self.refused, self.notice = None, "", ""

    def asked_about(self) -> str:
        """The run whose learning is shown; "" when there was none."""
        return self.chosen or (self.told or {}).get("id", "")

    @property
    def told(self) -> Json | None:
        """The newest run that was judged; else the newest that has ended."""
        ended = [run for run in self.runs if run["state"] != "running"]
        judged = [run for run in ended if run["state"] in ("promoted", "rejected")]
        return next(iter([*judged, *ended]), None)
