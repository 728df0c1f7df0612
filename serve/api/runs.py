"""Runs of the learning loop: list, show, start one."""

import subprocess
import sys
from typing import Any

from flask import Blueprint

from feedback import runs
from feedback.moments import iso
from feedback.tables import Run
from serve.api.context import context
from serve.api.errors import ApiError
from serve.api.operation import operation

blueprint = Blueprint("runs", __name__, url_prefix="/v1/runs")


@blueprint.get("")
@operation(role="reviewer")
def index() -> dict[str, Any]:
    """The runs, the newest first."""
    with context().database.reading() as session:
        data = [_describe(run) for run in runs.list_runs(session)]
    return {"object": "list", "data": data}


@blueprint.get("/<run_id>")
@operation(role="reviewer")
def show(run_id: str) -> dict[str, Any]:
    """One run with its step and progress."""
    with context().database.reading() as session:
        return _describe(runs.get_run(session, run_id))


@blueprint.post("")
@operation(status=202, role="admin")
def start() -> tuple[dict[str, Any], int]:
    """Start a run in a process of its own, as the command does; answers with the run."""
    command = [sys.executable, "-m", "serve.cli", "retrain", "now", "--no-wait"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ApiError(409, done.stderr.strip() or done.stdout.strip(), code="run_not_started")
    return show(done.stdout.strip().splitlines()[-1]), 202


def _describe(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "state": run.state,
        "step": run.step,
        "progress": run.progress,
        "message": run.message,
        "adapter": run.adapter,
        "created_at": iso(run.created_at),
        "finished_at": iso(run.finished_at) if run.finished_at else None,
    }
