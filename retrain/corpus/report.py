"""The report of a corpus for people: one HTML file that asks for nothing from anywhere else.

It says what the stages left in their files, with samples of what stays and of what was dropped.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import Any

from retrain.corpus.kinds import DEFAULT
from retrain.corpus.stage import Row, lines_of, made_by, read_manifest
from retrain.manifest import write_text
from retrain.report.pages import page
from retrain.report.scale import Histogram, histogram

FILE = "report.html"
STAGES = ("extract", "segment", "generate", "check", "write")
SAMPLES, OF_A_KIND, OF_A_REASON, THEMES, TROUBLES = 8, 3, 2, 15, 30
HOW = ("whole", "repaired", "cut off", "malformed", "refused", "empty", "unanswered")


def write_report(folder: Path) -> Path:
    """Write `report.html`; gives its path. Raises CorpusError before stage `check` is done."""
    path = folder / FILE
    write_text(path, render(folder))
    return path


def render(folder: Path) -> str:
    """The page, of the stages that are done."""
    check = made_by(folder, "check")
    stages = [told for stage in STAGES if (told := read_manifest(folder, stage))]
    made = {told["stage"]: told["rows"] for told in stages}
    splits = next((told["splits"] for told in stages if "splits" in told), None)
    answered, kept = (_themes(folder / name) for name in ("answers.jsonl", "rows.jsonl"))
    kinds = Counter(_kind(row) for row in lines_of(folder / "rows.jsonl")).most_common()
    troubles = [trouble for told in stages for trouble in told["troubles"]]
    return page("corpus.html.j2").render(
        name=folder.name,
        documents=made.get("extract", 0),
        units=made.get("segment", 0),
        asked=check["inputs"],
        kept=check["rows"],
        kinds=kinds,
        masked=check["masked"],
        dropped=Counter(check["dropped"]).most_common(),
        splits=splits,
        bill=_bill(stages),
        teacher=[_sent(told) for told in stages if "teacher" in told and told["notes"]],
        themes=[(name, n, kept[name]) for name, n in answered.most_common(THEMES)],
        more_themes=max(0, len(answered) - THEMES),
        lengths=_lengths(folder),
        samples=_with_passages(folder, _samples(folder, [kind for kind, _ in kinds])),
        refused=_refused(folder, check["dropped"]),
        stages=stages,
        troubles=troubles[:TROUBLES],
        more_troubles=max(0, len(troubles) - TROUBLES),
    )


def _bill(stages: Sequence[Row]) -> Row | None:
    """The newest bill: each stage writes down what all of them had cost by then."""
    bills: list[Row] = [told["teacher"] for told in stages if "teacher" in told]
    return max(bills, key=lambda one: one["tokens_in"] + one["tokens_out"], default=None)


def _themes(path: Path) -> Counter[str]:
    """How many rows there are under each of the highest headings."""
    return Counter(row["theme"].partition(" > ")[0] for row in lines_of(path))


def _sent(told: Row) -> dict[str, Any]:
    """How often the teacher's answers came in which way, the most frequent first."""
    notes = Counter[str](told["notes"])
    answers = Counter({how: notes.pop(how) for how in HOW if how in notes})
    return {
        "name": told["stage"],
        "all": answers.total(),
        "answers": answers.most_common(),
        "others": notes.most_common(),
    }


def _lengths(folder: Path) -> list[tuple[str, Histogram]]:
    """Of passages, questions and answers, the last two of the rows that stay."""
    passages = [len(row["content"]) for row in lines_of(folder / "units.jsonl")]
    pairs = [(len(r["question"]), len(r["answer"])) for r in lines_of(folder / "rows.jsonl")]
    questions, answers = zip(*pairs, strict=True) if pairs else ((), ())
    told = {"Passages": passages, "Questions": questions, "Answers": answers}
    return [(what, histogram(values)) for what, values in told.items()]


def _kind(row: Row) -> str:
    return str(row.get("kind", DEFAULT))


def _samples(folder: Path, kinds: Sequence[str]) -> list[Row]:
    """Rows of all kinds."""
    found: list[Row] = []
    for kind in kinds:
        rows = (row for row in lines_of(folder / "rows.jsonl") if _kind(row) == kind)
        found += _drawn(rows, max(OF_A_KIND, SAMPLES // len(kinds)))
    return found


def _drawn(rows: Iterable[Row], count: int) -> list[Row]:
    """The same rows each time, whatever their order: ids are hashes."""
    return nsmallest(count, rows, key=lambda row: str(row["id"]))


def _refused(folder: Path, dropped: Mapping[str, int]) -> list[Row]:
    found: list[Row] = []
    for reason in dropped:
        rows = (row for row in lines_of(folder / "dropped.jsonl") if row["reason"] == reason)
        found += _drawn(rows, OF_A_REASON)
    return found


def _with_passages(folder: Path, rows: Sequence[Row]) -> list[Row]:
    wanted = {row["unit"] for row in rows}
    units = (unit for unit in lines_of(folder / "units.jsonl") if unit["id"] in wanted)
    contents = {unit["id"]: unit["content"] for unit in units}
    return [{**row, "content": contents.get(row["unit"], "")} for row in rows]
