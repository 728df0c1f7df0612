"""What a run learned: rows in, rows left out and why, the gate's report, from the run's folders.

`retrain` writes them under REDRAFT_HOME, which the API shares; here they are only read. What is
not there yet, or was cleaned up, is null.
"""

import json
from collections.abc import Iterator
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request

from feedback import runs
from feedback.behind import list_with
from feedback.tables import Run
from serve.api.context import context
from serve.api.errors import ApiError
from serve.api.operation import HTML, operation
from serve.api.paging import PAGE, list_object, page_arguments

blueprint = Blueprint("learned", __name__, url_prefix="/v1/runs")

FILES = {  # what: the folder of the run, the file in it
    "frozen": ("snapshot", "rows.jsonl"),
    "curated": ("curate", "rows.jsonl"),
    "held": ("curate", "quarantine.jsonl"),
}
DROPPED = "dropped.jsonl"  # of both folders
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


@blueprint.get("/<run_id>/learned")
@operation(role="admin")
def learned(run_id: str) -> dict[str, Any]:
    """The snapshot, the curation and the recipe of a run as they were written, and its report."""
    run = _run(run_id)
    parts = {name: _read(_folder(run, name) / "manifest.json") for name in ("snapshot", "curate")}
    return {
        "run": run.id,
        **parts,
        "recipe": _read(_folder(run, "recipe") / "manifest.json"),
        "report": _read(_folder(run, "gate") / "report.json"),
        "has_page": (_folder(run, "gate") / "report.html").is_file(),
    }


@blueprint.get("/<run_id>/rows")
@operation(
    role="admin",
    query={
        **PAGE,
        "what": {"type": "string", "enum": [*FILES, "dropped"], "default": "frozen"},
        "step": {"type": "string"},
    },
)
def rows(run_id: str) -> dict[str, Any]:
    """The feedback that a run froze, curated, dropped or held back; by `step` the latter two."""
    run, (limit, after) = _run(run_id), page_arguments()
    what, step = request.args.get("what", "frozen"), request.args.get("step")
    ids = _ids(run, what, step)
    if after is not None:
        ids = islice(dropwhile(lambda id: id != after, ids), 1, None)
    found = list(islice(ids, limit + 1))
    shown = found[:limit]
    with context().database.reading() as session:
        data = list_with(session, shown)
    return list_object(data, len(found) > limit, shown[-1] if shown else None)


@blueprint.get("/<run_id>/report")
@operation(role="admin", media=(HTML,))
def report(run_id: str) -> Response:
    """The run's report for people; 404 until it was judged."""
    run = _run(run_id)
    try:
        page = (_folder(run, "gate") / "report.html").read_bytes()
    except FileNotFoundError:
        raise ApiError(404, f"Run {run.id} has no report: it was not judged.") from None
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(page, content_type=f"{HTML}; charset=utf-8", headers=headers)


def _run(run_id: str) -> Run:
    with context().database.reading() as session:
        return runs.get_run(session, run_id)


def _folder(run: Run, name: str) -> Path:
    home = context().settings.home
    if name == "snapshot":
        return home / "snapshots" / run.id.replace("r-", "s-")
    return home / "runs" / run.id / name


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _ids(run: Run, what: str, step: str | None) -> Iterator[str]:
    """The ids of the feedback in the run's files, in their order."""
    files = [("snapshot", DROPPED), ("curate", DROPPED)] if what == "dropped" else [FILES[what]]
    for folder, name in files:
        for row in _lines(_folder(run, folder) / name):
            if step is None or row.get("step") == step:
                yield str(row["row"]["feedback_id"] if what == "held" else row["feedback_id"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from map(json.loads, file)
