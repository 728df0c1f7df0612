"""Stage 3 without a teacher: questions and answers that the documents have already.

They are the columns of a table, the fields of a record, or the first exchange of a chat log, of
which only the first question stands alone. For a persona they are what was said to it, and its
reply (`retrain.corpus.persona`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from retrain.corpus import persona
from retrain.corpus.generate import NAME, OUTPUT, answer_row
from retrain.corpus.stage import CorpusError, Found, Note, Row, Stage, Tick, lines_of, made_by

QUESTION = ("question", "query", "prompt", "instruction", "q", "问题", "提问", "问")
ANSWER = ("answer", "response", "completion", "output", "reply", "a", "答案", "回答", "回复", "答")
ASKS = ("user", "human", "customer", "client", "用户", "客户", "顾客")

Pair = dict[str, str]


def collect(
    folder: Path,
    tick: Tick = lambda stage, done, total: None,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Take them from all documents of `folder`; gives the manifest of stage `generate`.

    `names`: a persona's. Raises CorpusError where nobody of these names speaks.
    """
    before, cut = made_by(folder, "extract"), made_by(folder, "segment")
    made_of = {"units": cut["sha256"], "documents": before["sha256"], "known": list(names) or True}
    if names:
        _check_cast(folder, names)
    stage = Stage(folder, NAME, OUTPUT, made_of)
    if stage.done:
        return stage.done
    units = groupby(lines_of(folder / "units.jsonl"), key=lambda unit: unit["document"])
    of_document = next(units, None)
    with stage:
        for number, document in enumerate(lines_of(folder / "documents.jsonl"), 1):
            tick(NAME, number, before["rows"])
            found: list[Row] = []
            if of_document is not None and of_document[0] == document["id"]:
                found = list(of_document[1])
                of_document = next(units, None)
            if document["id"] not in stage.keys:
                stage.add(document["id"], _rows(document, found, names))
        return stage.finish(notes=dict(stage.summary.counts))


def pairs(document: Row) -> Iterator[Pair]:
    """The questions and answers of a document, in order."""
    text, record = document["text"], dict[str, str]()
    turns: list[tuple[str, str]] = []
    for block in document["blocks"]:
        said = text[block["start"] : block["end"]]
        if block["kind"] == "table":
            yield from _of_table(block["rows"])
        elif block["kind"] == "record":
            name, _, value = said.partition(": ")
            record[name.strip().casefold()] = value
        elif block["kind"] == "turn":
            speaker = block.get("speaker", "")
            turns.append((speaker, said.removeprefix(f"{speaker}: ")))
    yield from _of_record(record)
    yield from _of_turns(turns)


def _of_table(rows: Sequence[Sequence[str]]) -> Iterator[Pair]:
    header = [cell.strip().casefold() for cell in rows[0]]
    for row in rows[1:]:
        yield from _of_record(dict(zip(header, row, strict=False)))


def _of_record(record: dict[str, str]) -> Iterator[Pair]:
    question, answer = (
        next((record[name] for name in names if record.get(name, "").strip()), "")
        for names in (QUESTION, ANSWER)
    )
    if question and answer:
        yield {"question": question.strip(), "answer": answer.strip()}


def _of_turns(turns: Sequence[tuple[str, str]]) -> Iterator[Pair]:
    spoken = [turn for turn in turns if turn[0].casefold() != "system"]
    if len(spoken) > 1 and spoken[0][0].casefold() in ASKS and spoken[1][0] != spoken[0][0]:
        yield {"question": spoken[0][1].strip(), "answer": spoken[1][1].strip()}


def _check_cast(folder: Path, names: Sequence[str]) -> None:
    cast = Counter[str]()
    for document in lines_of(folder / "documents.jsonl"):
        if any(one.own for one in persona.speeches(document, names)):
            return
        cast += persona.speakers(document)
    others = f" Who speaks: {persona.told(cast)}." if cast else ""
    raise CorpusError(
        f"Nobody called {' or '.join(names)} speaks in these documents.{others} Name the persona "
        "as the text does, with --persona again for each other name."
    )


def _rows(document: Row, units: Sequence[Row], names: Sequence[str]) -> Iterator[Found]:
    for pair in persona.exchanges(document, names) if names else pairs(document):
        unit = _holding(units, pair["answer"])
        if unit is None:
            yield Note("in no unit")
        else:
            yield Note("whole")
            yield answer_row(unit, pair, model="", prompt="")


def _holding(units: Sequence[Row], answer: str) -> Row | None:
    """The unit that the answer begins in; a cell's line ends are spaces in the text of a table."""
    said = " ".join(answer.split())[:80]
    return next((unit for unit in units if said in " ".join(unit["content"].split())), None)
