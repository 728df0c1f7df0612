"""The dashboard without a browser: what its views say of what the API says, and its plots."""

import asyncio
import json
from typing import Any

import gradio as gr
import httpx
import pytest

from feedback import kinds
from feedback.dashboard import STEPS
from serve.page.client import Client
from serve.page.dashboard import figures, plots
from serve.page.dashboard.board import PERIODS, Board
from serve.page.dashboard.handlers import Dashboard
from serve.page.languages import Words, catalogue, languages

SCRIPT = "<script>alert(1)</script>"
SHARE = {"good": 2, "n": 3, "share": 2 / 3, "low": 0.2, "high": 0.94}
DAYS = {"from": "2026-01-01", "to": "2026-01-01"}
NUMBERS: dict[str, Any] = {
    "from": "2026-01-01", "to": "2026-01-30", "step": "day", "turns": 5, "verdicts": 3,
    "satisfaction": [{"adapter": SCRIPT, **SHARE}],
    "satisfaction_over_time": [{"adapter": SCRIPT, **DAYS, **SHARE}],
    "volume": [{"kind": "rating", "explicit": True, **DAYS, "n": 3}],
    "comparisons": [],
    "places": {"first_picked": 0, "later_picked": 0, **SHARE, "n": 0, "share": None},
}  # fmt: skip
SCHEDULE = {
    "schedule": "0 3 * * *", "next_run": None, "now": "2026-01-30T00:00:00.000000Z",
    "running": None, "interrupted": None, "new_events": 4, "counted_all": True, "min_events": 50,
    "missing_events": 46, "waits_for_canary": None, "refused": SCRIPT,
}  # fmt: skip
RUN = {
    "id": "r-0001", "state": "running", "step": "train", "progress": {}, "message": "",
    "adapter": None, "created_at": "2026-01-01T00:00:00.000000Z", "finished_at": None,
}  # fmt: skip
ROW = {
    "id": "fb_1", "kind": "rating", "created_at": "2026-01-01T00:00:00.000000Z", "user": SCRIPT,
    "adapters": [SCRIPT], "outcomes": ["down"], "deleted": False, "question": SCRIPT,
    "answers": [{"id": "cmpl_1", "adapter": SCRIPT, "text": SCRIPT}],
    "payload": {"value": -1, "tags": [SCRIPT], "comment": SCRIPT},
}  # fmt: skip


class Api:
    """An API that says these things and notes what it was asked."""

    def __init__(self, **said: Any) -> None:
        self.said = {
            "/v1/dashboard": NUMBERS,
            "/v1/dashboard/schedule": SCHEDULE,
            "/v1/adapters": {"data": [], "serving": "base", "canary": None},
            "/v1/runs": {"data": [RUN]},
            "/v1/dashboard/rows": {"data": [ROW], "has_more": True, "last_id": "fb_1"},
            **said,
        }
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        found = self.said.get(request.url.path)
        if isinstance(found, int):
            error = {"message": f"No: {SCRIPT}", "code": None}
            return httpx.Response(found, json={"error": error})
        return httpx.Response(200 if found else 404, json=found or {})

    def handlers(self) -> Dashboard:
        return Dashboard(Client("http://api.test", transport=httpx.MockTransport(self)))


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def html(views: Any) -> str:
    parts = views if isinstance(views, tuple) else (views,)
    return "".join(v.get("html", "") + v.get("rows", "") for v in parts if "revision" in v)


@pytest.mark.parametrize("language", languages())
def test_text_of_others_is_text(language: str) -> None:
    handlers, board = Api().handlers(), Board(language=language)
    everything = html(asyncio.run(handlers.hello(board, event(utc_offset=60))))
    rows = html(asyncio.run(handlers.rows(board, event(kind="rating", outcome="down"))))
    assert "&lt;script&gt;" in everything and "&lt;script&gt;" in rows
    assert "<script" not in everything + rows
    assert "fb_1" in rows and "2026-01-01 01:00" in rows


def test_every_kind_outcome_and_state_has_a_word() -> None:
    words = catalogue("en")
    for kind in (*kinds.kinds(), "turn"):
        assert f"dash_kind_{kind}" in words
    assert set(plots.KINDS) == set(kinds.kinds(kinds.VERDICT))
    for state in ("candidate", "canary", "champion", "retired", "rejected"):
        assert f"dash_state_{state}" in words
    for state in ("running", "interrupted", "promoted", "rejected", "refused", "failed"):
        assert f"dash_state_{state}" in words
    assert set(PERIODS.values()) <= set(STEPS)


def test_rows_are_asked_for_page_by_page_with_known_filters_alone() -> None:
    api, board = Api(), Board()
    handlers = api.handlers()
    asyncio.run(handlers.rows(board, event(kind="rating", limit="9", evil="x", adapter=7)))
    asyncio.run(handlers.more(board))
    first, second = (dict(request.url.params) for request in api.asked)
    assert first == {"kind": "rating", "limit": "20"}
    assert second == {"kind": "rating", "limit": "20", "after": "fb_1"}
    asyncio.run(handlers.rows(board, event(run="../../x", what="held")))
    assert api.asked[-1].url.raw_path.startswith(b"/v1/runs/..%2F..%2Fx/rows")
    assert SCRIPT not in html(asyncio.run(handlers.close(board)))


def test_who_may_not_look_is_told_so_and_shown_nothing() -> None:
    board = Board()
    views = asyncio.run(Api(**{"/v1/dashboard": 403}).handlers().hello(board, event()))
    assert "This page is for operators. No: &lt;script&gt;" in html(views)
    assert "dash" not in html(views[2:]) and views[1]["visible"] is views[3]["visible"] is False
    assert html(views[4]) == html(views[2]) == ""


def test_a_failed_action_is_told_and_the_rest_stays() -> None:
    api = Api(**{"/v1/adapters/a%2F..%2Fb/promote": 409, "/v1/adapters/a/../b/promote": 409})
    board = Board()
    asyncio.run(api.handlers().hello(board, event()))
    told = html(asyncio.run(api.handlers().promote(board, event(adapter="a/../b", reason="r"))))
    assert "failed" in told and "No: &lt;script&gt;" in told
    (sent,) = [request for request in api.asked if request.method == "POST"]
    assert sent.url.raw_path == b"/v1/adapters/a%2F..%2Fb/promote"
    assert json.loads(sent.content) == {"reason": "r"}


def test_a_plot_has_the_numbers_and_no_address_of_others() -> None:
    drawn = plots.satisfaction(NUMBERS["satisfaction_over_time"], NUMBERS, Words())
    spec = json.loads(drawn.plot)
    (value,) = spec["data"]["values"]
    assert (value["share"], value["low"], value["high"], value["n"]) == (2 / 3, 0.2, 0.94, 3)
    assert spec["usermeta"]["embedOptions"] == {"actions": False, "renderer": "svg"}
    addresses = {part for part in drawn.plot.split('"') if "://" in part}
    assert addresses == {"https://vega.github.io/schema/vega-lite/v5.json"}  # a name, never asked
    (bar,) = json.loads(plots.volume(NUMBERS["volume"], NUMBERS, Words("zh")).plot)["data"][
        "values"
    ]
    assert (bar["kind"], bar["n"]) == ("点赞或点踩", 3)


def test_the_adapters_with_most_thumbs_are_drawn() -> None:
    rows = [{"adapter": f"a-{n:04d}", "n": n} for n in range(9)]
    assert list(plots.colours({"satisfaction": rows})) == [f"a-{n:04d}" for n in range(3, 9)]


def test_figures_are_readable() -> None:
    assert figures.percent(None) == "–" and figures.percent(0.666) == "67\u202f%"
    assert figures.duration(65) == "1:05" and figures.duration(3725) == "1:02:05"
    moment = "2026-01-01T23:30:00.000000Z"
    assert figures.local(moment, 60) == "2026-01-02 00:30" and figures.local(None, 0) == "–"
    assert figures.took(moment, None) == "–"
    assert figures.address(kind="rating", from_="a b", step=None).endswith(
        "#rows?kind=rating&from=a+b"
    )
