"""The dashboard's endpoints: numbers, the rows behind them, the schedule, what a run learned."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_context import open_here
from flask.testing import FlaskClient
from sqlalchemy import text

from feedback import adapters, runs
from feedback.moments import now
from retrain.curate import curate
from retrain.manifest import read_rows, seal, start_over, write_json, write_rows
from serve.api.context import Context
from serve.settings import load_settings

ASK = {"model": "redraft", "messages": [{"role": "user", "content": "/say hello"}]}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Context]:
    with open_here(load_settings(home=tmp_path, engine="echo", min_events=3)) as context:
        yield context


def asked(api: FlaskClient, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = api.post("/v1/chat/completions", json={**ASK, **more}).json
    return found["redraft"]


def said(api: FlaskClient, **body: Any) -> str:
    answer = api.post("/v1/feedback", json=body)
    assert answer.status_code == 201, answer.json
    return str(answer.json["id"])


def got(api: FlaskClient, path: str, **query: str) -> Any:
    answer = api.get(path, query_string=query or None)
    assert answer.status_code == 200, answer.json
    return answer.json


def test_the_numbers_and_the_rows_behind_them(api: FlaskClient) -> None:
    given = []
    for value in (1, 1, -1):
        (id,) = asked(api)["completion_ids"]
        given.append(said(api, kind="rating", completion_id=id, value=value, comment="<b>why"))
    found = got(api, "/v1/dashboard")
    (row,) = found["satisfaction"]
    assert (row["adapter"], row["good"], row["n"]) == ("base", 2, 3)
    assert found["turns"] == 3 and found["verdicts"] == 3
    assert found["from"] < found["to"] == str(now().date())
    query = {"kind": "rating", "adapter": "base", "from": found["from"], "to": found["to"]}
    up = got(api, "/v1/dashboard/rows", **query, outcome="up")["data"]
    assert [row["id"] for row in up] == [given[1], given[0]]
    assert up[0]["payload"]["comment"] == "<b>why" and up[0]["question"] == "/say hello"
    page = got(api, "/v1/dashboard/rows", **query, outcome="up,down", limit="2")
    assert page["has_more"] and page["last_id"] == given[1]
    rest = got(api, "/v1/dashboard/rows", **query, outcome="up,down", after=given[1])
    assert [row["id"] for row in rest["data"]] == [given[0]] and not rest["has_more"]
    turns = got(api, "/v1/dashboard/rows", kind="turn", limit="2")
    assert len(turns["data"]) == 2 and turns["has_more"]


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2026-02-30",
        "from=2026-02-01&to=2026-01-01",
        "to=",
        "to=2026-W05-6",
        "step=year",
    ],
)
def test_a_period_that_is_none_is_refused(api: FlaskClient, query: str) -> None:
    answer = api.get(f"/v1/dashboard?{query}")
    assert answer.status_code == 400 and answer.json["error"]["param"] in query


@pytest.mark.parametrize(
    "query", ["kind=stars", "kind=", "limit=0", "after=fb_none", "kind=turn&after=turn_none"]
)
def test_rows_that_are_none_are_refused(api: FlaskClient, query: str) -> None:
    assert api.get(f"/v1/dashboard/rows?{query}").status_code == 400


@pytest.mark.parametrize(
    "query", ["to=0001-01-01", "to=9999-12-31", "adapter=%00", "outcome=%00,,x"]
)
def test_a_far_day_or_a_strange_filter_finds_nothing(api: FlaskClient, query: str) -> None:
    said(api, kind="rating", completion_id=asked(api)["completion_ids"][0], value=1)
    got(api, "/v1/dashboard")
    answer = api.get(f"/v1/dashboard/rows?{query}")
    assert answer.status_code == 200 and answer.json["data"] == []


def test_the_schedule_says_what_is_missing(api: FlaskClient, here: Context) -> None:
    found = got(api, "/v1/dashboard/schedule")
    assert (found["new_events"], found["missing_events"], found["next_run"]) == (0, 3, None)
    said(api, kind="rating", completion_id=asked(api)["completion_ids"][0], value=1)
    assert got(api, "/v1/dashboard/schedule")["missing_events"] == 2
    with here.database.session() as session:
        run = runs.claim_run(session, {})
    assert got(api, "/v1/dashboard/schedule")["running"] == run.id
    with here.database.session() as session:
        runs.finish_run(session, run.id, "refused", "Refused to train. Too little.")
        adapters.register_adapter(
            session, name="a-0001-x", base_model="m", path="p", digest="0", run_id=run.id
        )
        adapters.set_canary(session, "a-0001-x", 0.1, "ada", "try")
        session.execute(text("CREATE TABLE apscheduler_jobs (id TEXT, next_run_time FLOAT)"))
        session.execute(text("INSERT INTO apscheduler_jobs VALUES ('nightly', 1767236400.5)"))
    found = got(api, "/v1/dashboard/schedule")
    assert found["running"] is None and found["waits_for_canary"] == "a-0001-x"
    assert found["refused"] == "Refused to train. Too little." and found["new_events"] == 0
    assert found["next_run"] == "2026-01-01T03:00:00.500000Z"


@pytest.fixture
def run(api: FlaskClient, here: Context) -> str:
    """A run that froze four thumbs and curated them, as `retrain` leaves its folders."""
    from retrain.snapshot import DROPPED, ROWS, freeze_snapshot
    from retrain.work import QUARANTINE, REPORT

    for text_ in ("one", "two", "two", "three"):
        ask = {"messages": [{"role": "user", "content": f"/say {text_}"}]}
        (id,) = asked(api, **ask)["completion_ids"]
        said(api, kind="rating", completion_id=id, value=1)
    with here.database.session() as session:
        session.execute(text("UPDATE conversations SET split = 'train'"))
        run = runs.claim_run(session, {})
    home = here.settings.home
    freeze_snapshot(here.database, home / "snapshots" / "s-0001", here.settings)
    rows = read_rows(home / "snapshots/s-0001" / ROWS)
    found = curate(rows, here.settings, ("duplicates",))
    held = [{"step": "bursts", "reason": "too many", "row": rows[0]}]
    folder = start_over(home / "runs" / run.id / "curate")
    write_rows(folder / ROWS, found.rows)
    write_rows(folder / QUARANTINE, held)
    write_rows(folder / DROPPED, found.dropped)
    seal(folder, {"rows": 3, "steps": [report.as_dict() for report in found.reports]})
    gate = start_over(home / "runs" / run.id / "gate")
    write_json(gate / "report.json", {"promote": True, "guards": []})
    (gate / REPORT).write_text("<p>story</p>")
    return run.id


def test_what_a_run_learned_and_the_rows_behind_it(api: FlaskClient, run: str) -> None:
    found = got(api, f"/v1/runs/{run}/learned")
    assert found["snapshot"]["rows"] == 4 and found["recipe"] is None
    (step,) = found["curate"]["steps"]
    assert (step["step"], step["rows_in"], step["rows_out"]) == ("duplicates", 4, 3)
    assert found["report"]["promote"] and found["has_page"]
    for what, n in (("frozen", 4), ("curated", 3), ("dropped", 1), ("held", 1)):
        rows = got(api, f"/v1/runs/{run}/rows", what=what)["data"]
        assert len(rows) == n and all(row["kind"] == "rating" for row in rows)
    assert got(api, f"/v1/runs/{run}/rows", what="dropped", step="length")["data"] == []
    (gone,) = got(api, f"/v1/runs/{run}/rows", what="dropped", step="duplicates")["data"]
    assert gone["question"] == "/say two"
    first = got(api, f"/v1/runs/{run}/rows", limit="3")
    rest = got(api, f"/v1/runs/{run}/rows", after=first["last_id"])
    assert len(first["data"]) == 3 and first["has_more"] and len(rest["data"]) == 1


def test_the_report_is_shown_without_scripts(api: FlaskClient, run: str) -> None:
    answer = api.get(f"/v1/runs/{run}/report")
    assert answer.text == "<p>story</p>" and answer.content_type.startswith("text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_run_without_its_folders_learned_nothing_yet(api: FlaskClient, here: Context) -> None:
    with here.database.session() as session:
        run = runs.claim_run(session, {})
    found = got(api, f"/v1/runs/{run.id}/learned")
    assert found == {
        "run": run.id, "snapshot": None, "curate": None, "recipe": None, "report": None,
        "has_page": False,
    }  # fmt: skip
    assert got(api, f"/v1/runs/{run.id}/rows", what="held")["data"] == []
    assert api.get(f"/v1/runs/{run.id}/report").status_code == 404
    assert api.get(f"/v1/runs/{run.id}/rows?what=all").status_code == 400
    for path in ("learned", "rows", "report"):
        assert api.get(f"/v1/runs/r-9999/{path}").status_code == 404
