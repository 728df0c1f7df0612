"""The written dataset as rows of a snapshot: what a run learns of a corpus and is judged by.

A row has the form of feedback, of kind `corpus`, so that whatever selects, trains and scores rows
knows what to do with it. It is nobody's verdict: curation and review, which are for those, pass it
over, and stage `check` has done the like. Held-out rows ask closed-book, without the document.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from retrain.corpus.stage import CorpusError, Row, lines_of, made_by
from retrain.corpus.write import FOLDER, NAME, SPLITS, are_whole
from retrain.rows import CORPUS


def look(folder: Path) -> dict[str, str]:
    """{folder, digest} of a written corpus, which name it from then on. Raises CorpusError."""
    told = made_by(folder, NAME)
    again = f"Write it again: redraft corpus write --into {folder}"
    if told["made_of"]["rows"] != made_by(folder, "check")["sha256"]:
        raise CorpusError(f"The dataset in {folder} is older than the rows it is made of. {again}")
    if not are_whole(folder, told["files"]):
        raise CorpusError(
            f"The dataset in {folder} is not what stage write made: a file was changed. {again}"
        )
    if "sft.train.jsonl" not in told["files"]:
        raise CorpusError(
            f"The dataset in {folder} has no sft.train.jsonl, which is what a run learns: its rows "
            "are all of kinds for other trainers. Make questions and answers as well, with redraft "
            f"corpus generate --kind qa. {again}"
        )
    files = json.dumps(told["files"], sort_keys=True)
    digest = hashlib.sha256(files.encode()).hexdigest()
    return {"folder": str(folder.absolute()), "digest": digest}


def read(corpus: Mapping[str, str], after: int) -> list[Row]:
    """Its rows, newer than event `after`. Raises CorpusError where it is not what `look` saw."""
    folder = Path(corpus["folder"])
    if look(folder)["digest"] != corpus["digest"]:
        raise CorpusError(
            f"The corpus in {folder} was changed since this run began. Start a new one: redraft "
            f"retrain now --corpus {folder}"
        )
    return [{**row, "seq": after + n} for n, row in enumerate(_rows(folder), 1)]


def facts(corpus: Mapping[str, str], rows: list[Row]) -> dict[str, Any]:
    """What a snapshot's manifest says of its corpus."""
    made_of = made_by(Path(corpus["folder"]), NAME)["made_of"]
    origins = [row["origin"] for row in rows]
    return {
        **corpus,
        "made_of": made_of,
        "documents": len({(origin["source"], origin["part"]) for origin in origins}),
        "teachers": sorted({origin["model"] for origin in origins} - {""}),
    }


def _rows(folder: Path) -> Iterator[Row]:
    for split in SPLITS:
        for example in lines_of(folder / FOLDER / f"sft.{split}.jsonl"):
            yield _row(example, split)


def _row(example: Row, split: str) -> Row:
    origin = example["origin"]
    return {
        "feedback_id": origin["id"],
        "kind": CORPUS,
        "payload": {"text": example["completion"][0]["content"]},
        "user_id": "",
        "split": split,
        "conversation_id": origin.get("document", ""),
        "turn_id": origin.get("unit", ""),
        "messages": example["prompt"],
        "completion_id": None,
        "completions": [],
        "origin": origin,
    }
