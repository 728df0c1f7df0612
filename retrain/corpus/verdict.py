"""Stage 4, by the teacher: is an answer supported by its source, does its question stand alone?

Only answers that the other checks let through are shown to it. What it says is in
`verdicts.jsonl`, paid for within the budget of the corpus and once, as in `generate`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from retrain.corpus import kinds
from retrain.corpus.asking import (
    Answer,
    Form,
    Round,
    Task,
    closed,
    estimate,
    lesson,
    prompt_hashes,
    prompt_language,
    prompt_of,
    text,
)
from retrain.corpus.kinds._kind import Claim
from retrain.corpus.parsing import Item, Malformed
from retrain.corpus.stage import Found, Row, Stage, Tick, Trouble, lines_of
from serve.settings import Settings

NAME, OUTPUT = "verdict", "verdicts.jsonl"
PROMPT = "verdict"
WHY, TOKENS = 300, 160
UNSUPPORTED = "not supported by the source, says the teacher"
LEANS = "not to be answered without the document, says the teacher"
UNJUDGED = "the teacher gave no verdict"
YES_OR_NO = {"true": True, "yes": True, "是": True, "false": False, "no": False, "否": False}


@dataclass(frozen=True)
class Verdicts:
    """What the teacher of `settings` says of answers; `made_of` tells what that depends on."""

    settings: Settings

    @property
    def made_of(self) -> dict[str, Any]:
        return {"model": self.settings.teacher_model, "prompts": prompt_hashes(PROMPT)}

    def ask(
        self, folder: Path, rows: Sequence[Row], contents: Mapping[str, str], tick: Tick
    ) -> dict[str, Any]:
        """Have all rows judged; gives what it did. Raises Stopped or OverBudget, to go on later."""
        asked = sha256("\n".join(row["id"] for row in rows).encode()).hexdigest()
        stage = Stage(folder, NAME, OUTPUT, {**self.made_of, "asked": asked})
        if stage.done:
            return stage.done
        with lesson(stage, self.settings) as at_work:
            found = list(tasks(rows, contents))
            todo = [task for task in found if _key(task) not in stage.keys]
            with closing(at_work.ask(todo)) as told:
                for task, answer in told:
                    stage.add(_key(task), _found(task, answer))
                    tick(at_work.label, stage.summary.inputs, len(found))
            return at_work.finish()

    def estimate(
        self, folder: Path, rows: Sequence[Row], contents: Mapping[str, str]
    ) -> dict[str, Any]:
        """What is left to ask and to pay: about, and at most; nothing is asked."""
        return estimate(folder, self.settings, [Round(tasks(rows, contents))])


def reasons(folder: Path, rows: Sequence[Row], contents: Mapping[str, str]) -> list[str | None]:
    """For each of the rows that were judged why it does not count, None where it does."""
    said = {(one["id"], one["claim"]): one for one in lines_of(folder / OUTPUT)}
    return [
        next(
            filter(None, (_reason(said.get((row["id"], n))) for n, _ in _claims(row, contents))),
            None,
        )
        for row in rows
    ]


def tasks(rows: Sequence[Row], contents: Mapping[str, str]) -> Iterator[Task]:
    """The question of what an answer is worth, for each answer that its passage has to bear out."""
    for row in rows:
        for number, claim in _claims(row, contents):
            prompt = prompt_of(PROMPT, prompt_language(claim.content or ""))
            place = f"{row['source']}, answer {row['id']}"
            yield Task({"id": row["id"], "claim": number}, place, prompt, claim._asdict(), form())


def _claims(row: Row, contents: Mapping[str, str]) -> Iterator[tuple[int, Claim]]:
    """What the row says that its passage has to bear out; nothing for a row that is about none."""
    content = contents.get(row["unit"])
    for number, claim in enumerate(kinds.of(row).claims(row, content)):
        if content and claim.content and content in claim.content:
            yield number, claim


def _key(task: Task) -> str:
    return f"{task.subject['id']} {task.subject['claim']}"


def form() -> Form:
    yes_or_no = {"type": "boolean"}
    item = closed({"why": text(WHY), "supported": yes_or_no, "standalone": yes_or_no})
    return Form("verdicts", item, 1, TOKENS, fit)


def fit(item: Item) -> Item:
    """The verdict. Raises Malformed."""
    said = {key: _yes(item.get(key)) for key in ("supported", "standalone")}
    return {**said, "why": str(item.get("why", ""))[:WHY]}


def _yes(said: Any) -> bool:
    found = YES_OR_NO.get(str(said).strip().casefold())
    if found is None:
        raise Malformed("verdict without yes or no")
    return found


def _found(task: Task, answer: Answer) -> Iterator[Found]:
    yield from answer.notes
    yield from ({**task.subject, **verdict} for verdict in answer.items[:1])
    if answer.fault:
        yield Trouble(f"{task.place}: {answer.fault}")


def _reason(verdict: Row | None) -> str | None:
    if verdict is None:
        return UNJUDGED
    if not verdict["supported"]:
        return UNSUPPORTED
    return None if verdict["standalone"] else LEANS
