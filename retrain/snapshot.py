"""The frozen input of a run: all feedback in force at one moment, as JSON Lines with a manifest.

Where a run learns a corpus, its rows are there as well, in a file of their own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedback.database import Database
from feedback.reads import last_feedback_seq
from retrain.corpus import rows as corpora
from retrain.curate import FREEZING, curate
from retrain.manifest import seal, start_over, write_rows
from retrain.rows import counts, rows_in_force
from serve.settings import Settings

ROWS = "rows.jsonl"
OF_CORPUS = "corpus.jsonl"
DROPPED = "dropped.jsonl"  # which rows a step left out, by their ids


def freeze_snapshot(
    database: Database,
    folder: Path,
    settings: Settings,
    corpus: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write every row of one moment into the folder; gives the manifest, which is written last.

    Texts are normalised and personal data masked before: the originals stay in the record. Raises
    CorpusError where the corpus is not what it was when the run began.
    """
    start_over(folder)
    with database.reading() as session:
        last_seq = last_feedback_seq(session)
        read = rows_in_force(session)
    frozen = curate(read, settings, FREEZING)
    rows = frozen.rows
    write_rows(folder / ROWS, rows)
    write_rows(folder / DROPPED, frozen.dropped)
    facts = {
        "snapshot": folder.name,
        "rows": len(rows),
        "by_kind": counts(rows, "kind"),
        "by_split": counts(rows, "split"),
        "users": len({row["user_id"] for row in rows}),
        "last_feedback_seq": last_seq,
        "steps": [report.as_dict() for report in frozen.reports],
    }
    if corpus:
        learned = corpora.read(corpus, after=last_seq)
        write_rows(folder / OF_CORPUS, learned)
        facts["corpus"] = corpora.facts(corpus, learned) | {"rows": len(learned)}
    return seal(folder, facts)
