"""The frozen input of a run: all feedback in force at one moment, as JSON Lines with a manifest."""

from pathlib import Path
from typing import Any

from feedback import users
from feedback.database import Database
from feedback.reads import last_feedback_seq, training_rows
from retrain.curate import FREEZING, curate
from retrain.manifest import seal, start_over, write_rows
from retrain.rows import counts
from serve.settings import Settings

ROWS = "rows.jsonl"


def freeze_snapshot(database: Database, folder: Path, settings: Settings) -> dict[str, Any]:
    """Write every row of one moment into the folder; gives the manifest, which is written last.

    Texts are normalised and personal data masked before: the originals stay in the record.
    """
    start_over(folder)
    with database.reading() as session:
        last_seq = last_feedback_seq(session)
        roles = {user.id: user.role for user in users.list_users(session)}
        read = [row | {"role": roles[row["user_id"]]} for row in training_rows(session)]
    frozen = curate(read, settings, FREEZING)
    rows = frozen.rows
    write_rows(folder / ROWS, rows)
    facts = {
        "snapshot": folder.name,
        "rows": len(rows),
        "by_kind": counts(rows, "kind"),
        "by_split": counts(rows, "split"),
        "users": len({row["user_id"] for row in rows}),
        "last_feedback_seq": last_seq,
        "steps": [report.as_dict() for report in frozen.reports],
    }
    return seal(folder, facts)
