"""Stage 5: the dataset, in the forms that trainers read, split into train and held out.

Rows of a kind go to the datasets that it teaches (see `retrain.corpus.kinds`), so a form has files
where there are rows for it.

By document, all of one is trained on or held out, by a stable hash of its source and part, so a
larger corpus, or a mended text, moves none. By question, the hash is of that as well: held-out
questions are about documents that others, trained on, are about too; one without such others is
left out. Rows have the forms of `redraft export`; `origin` says where each comes from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from feedback.split import split_of
from retrain import forms
from retrain.corpus import kinds, review
from retrain.corpus.stage import Row, lines_of, made_by, read_manifest
from retrain.manifest import sha256, write_json, write_rows
from serve.settings import Settings

NAME, FOLDER = "write", "dataset"
FORMS = ("alpaca", "kto", "messages", "preference", "prompt-only", "rewriter", "sft")
WHOLE = ("alpaca", "messages")  # which hold a conversation, so its last answer is enough
SPLITS = ("train", "heldout")
BY = ("document", "question")
ALONE = "left out, alone about its document"
ORIGIN = ("id", "kind", "source", "part", "document", "unit", "theme", "model", "prompt")


def write(folder: Path, settings: Settings, system: str = "", by: str = BY[0]) -> dict[str, Any]:
    """Write `dataset/FORM.{train,heldout}.jsonl`; gives the stage's manifest."""
    before = made_by(folder, "check")
    share = settings.holdout_share
    made_of = {
        "rows": before["sha256"],
        "verdicts": review.digest(folder),
        "system": system,
        "holdout_share": share,
        "by": by,
    }
    known = read_manifest(folder, NAME)
    if known is not None and known["made_of"] == made_of and are_whole(folder, known["files"]):
        return known
    (folder / f"{NAME}.json").unlink(missing_ok=True)
    (folder / FOLDER).mkdir(exist_ok=True)
    said, reviewed = review.verdicts(folder), Counter[str]()

    def kept(counts: Counter[str] | None = None) -> Iterator[Row]:
        return review.heeded(said, lines_of(folder / "rows.jsonl"), counts)

    splits = split(kept(reviewed), share, by)
    for old in (folder / FOLDER).glob("*.jsonl"):
        old.unlink()
    taught = {name for row in kept() for name in kinds.of(row).teaches}
    for form in (one for one in FORMS if forms.source(one) in taught):
        for part in SPLITS:
            own = (row for row in kept() if splits[row["id"]] == part)
            rows = (one for row in own for one in examples(row, form, system))
            write_rows(folder / FOLDER / f"{form}.{part}.jsonl", rows)
    counted = Counter(splits.values())
    files = {path.name: sha256(path) for path in sorted((folder / FOLDER).glob("*.jsonl"))}
    told = {"stage": NAME, "made_of": made_of, "inputs": before["rows"], "rows": counted.total()}
    told |= {"reviewed": dict(reviewed)} if reviewed else {}
    manifest = {**told, "troubles": [], "splits": dict(counted), "files": files}
    write_json(folder / f"{NAME}.json", manifest)
    return manifest


def split(rows: Iterable[Row], share: float, by: str = BY[0]) -> dict[str, str]:
    """The split of each row by its id; `share` of the documents, or questions, are held out."""
    places = {row["id"]: (f"{row['source']}\n{row['part']}", row["question"]) for row in rows}
    if by == "document":
        return {id: split_of("corpus", place, share) for id, (place, _) in places.items()}
    found: dict[str, str] = {
        id: split_of("corpus", "\n".join(asked), share) for id, asked in places.items()
    }
    taught = {places[id][0] for id, part in found.items() if part == "train"}
    return {id: part if places[id][0] in taught else ALONE for id, part in found.items()}


def examples(row: Row, form: str, system: str = "") -> Iterator[Row]:
    """The row in that form, as often as its kind says, each with where it comes from."""
    found = kinds.of(row).examples(row, system).get(forms.source(form) or "", ())
    whole = form in WHOLE
    origin = {"kind": kinds.DEFAULT, **{name: row[name] for name in ORIGIN if name in row}}
    for left, one in zip(range(len(found) - 1, -1, -1), found, strict=True):
        formed = None if whole and left else forms.write(form, one)
        if formed is not None:
            named = f"{row['id']}-{left}" if left else row["id"]
            yield {**formed, "origin": {**origin, "id": named}}


def are_whole(folder: Path, files: Mapping[str, str]) -> bool:
    """Whether the dataset's files are what the manifest says."""
    try:
        return all(sha256(folder / FOLDER / name) == said for name, said in files.items())
    except OSError:
        return False
