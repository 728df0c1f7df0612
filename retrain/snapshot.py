"""The frozen input of a run: all feedback in force at one moment, as JSON Lines with a manifest."""

from pathlib import Path
from typing import Any

from feedback import users
from feedback.database import Database
from feedback.reads import last_feedback_seq, training_rows
from retrain.manifest import seal, start_over, write_rows
from retrain.rows import counts

ROWS = "rows.jsonl"


def freeze_snapshot(database: Database, folder: Path) -> dict[str, Any]:
    """Write every row of one moment into the folder; gives the manifest, which is written last."""
    start_over(folder)
    with database.reading() as session:
        last_seq = last_feedback_seq(session)
        roles = {user.id: user.role for user in users.list_users(session)}
        rows = [row | {"role": roles[row["user_id"]]} for row in training_rows(session)]
    write_rows(folder / ROWS, rows)
    facts = {
        "snapshot": folder.name,
        "rows": len(rows),
        "by_kind": counts(rows, "kind"),
        "by_split": counts(rows, "split"),
        "users": len({row["user_id"] for row in rows}),
        "last_feedback_seq": last_seq,
    }
    return seal(folder, facts)
