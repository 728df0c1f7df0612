"""Stage 3: rows of the kinds that are asked for, which a teacher writes about each unit.

The kinds are files in `retrain.corpus.kinds`, their prompts `prompts/corpus/KIND/`, in the language
of the unit. All kinds are asked about a unit before the next one, so that a budget which ends half
way leaves units that have all of them. Kinds that are made of seeds come last.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from retrain.corpus import instruct
from retrain.corpus.asking import (
    Answer,
    Form,
    Round,
    Task,
    estimate,
    lesson,
    prompt_hashes,
    prompt_language,
    prompt_of,
)
from retrain.corpus.kinds import DEFAULT, kind as kind_named
from retrain.corpus.parsing import Item
from retrain.corpus.stage import (
    CorpusError,
    Found,
    Row,
    Stage,
    Tick,
    Trouble,
    lines_of,
    made_by,
    read_manifest,
)
from retrain.manifest import sha256
from serve.settings import Settings

NAME, OUTPUT = "generate", "answers.jsonl"
PAIRS, INSTRUCTIONS = 3, 100


@dataclass(frozen=True)
class Asking:
    """How units are asked about: for at most `pairs` of a kind, using these terms as they are.

    Kinds that are made of seeds give at most `instructions`, of the file `seeds` or of ours.
    """

    pairs: int = PAIRS
    terms: Sequence[str] = ()
    kinds: Sequence[str] = (DEFAULT,)
    seeds: Path | None = None
    instructions: int = INSTRUCTIONS

    @property
    def about_units(self) -> list[str]:
        return [name for name in self.kinds if not kind_named(name).seeded]

    @property
    def seeded(self) -> bool:
        return len(self.about_units) < len(self.kinds)

    @property
    def requests(self) -> int:
        """Requests for what is made of seeds."""
        return ceil(self.instructions / self.form("instruct").most) if self.seeded else 0

    def form(self, name: str = DEFAULT) -> Form:
        """The form of an answer for a kind."""
        kind = kind_named(name)
        return Form(kind.items, kind.item, kind.most or self.pairs, kind.tokens, kind.fit)

    def task(self, unit: Row, name: str = DEFAULT, more: Mapping[str, Any] | None = None) -> Task:
        """What is asked about a unit for a kind; `more` is what its prompt is told besides."""
        form = self.form(name)
        said = {key: unit[key] for key in ("theme", "content")}
        return Task(
            {"unit": unit, "kind": name, "key": f"{unit['id']} {name}"},
            f"{unit['source']}, unit {unit['id']}",
            prompt_of(name.replace("-", "_"), prompt_language(unit["content"])),
            {**said, "count": form.most, "terms": self.terms, **(more or {})},
            form,
        )

    def tasks(self, folder: Path) -> Iterator[Task]:
        """All kinds about a unit, and so on."""
        about = {name: kind_named(name).about for name in self.about_units}
        alone = not any(about.values())
        units = lines_of(folder / "units.jsonl")
        for unit, document in ((unit, {}) for unit in units) if alone else _with_documents(folder):
            for name, of in about.items():
                more = of(unit, document) if of else {}
                if more is not None:
                    yield self.task(unit, name, more)

    def rounds(self, folder: Path, rehearsal: bool = False) -> Iterator[Round]:
        """All that is asked, in order."""
        if self.about_units:
            yield Round(self.tasks(folder))
        if self.seeded:
            themes, sample = _themes(folder)
            pool = instruct.Pool(instruct.read_seeds(self.seeds, sample), rehearsal)
            yield from instruct.rounds(
                pool, self.form("instruct"), self.requests, themes, self.terms
            )


def generate(
    folder: Path,
    settings: Settings,
    asking: Asking,
    tick: Tick = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Ask about all units of `folder`; gives the stage's manifest.

    Raises Stopped or OverBudget with work left: the same call goes on, and pays for nothing twice.
    """
    before = _before(folder, asking)
    stage = Stage(folder, NAME, OUTPUT, _made_of(before, settings, asking))
    if stage.done:
        return stage.done
    inputs = before["rows"] * len(asking.about_units) + asking.requests
    with lesson(stage, settings) as at_work:
        for one in asking.rounds(folder):
            done = frozenset() if one.again else stage.keys
            todo = (task for task in one.tasks if task.subject["key"] not in done)
            with closing(at_work.ask(todo)) as told:
                for task, answer in told:
                    taken = one.take(answer)
                    if task.subject["key"] not in stage.keys:
                        model = at_work.teacher.model
                        stage.add(task.subject["key"], _found(task, taken, model))
                    tick(at_work.label, stage.summary.inputs, inputs)
        return at_work.finish()


def estimate_answers(folder: Path, settings: Settings, asking: Asking) -> dict[str, Any]:
    """What is left to ask and to pay: about, and at most; nothing is asked."""
    _before(folder, asking)
    return estimate(folder, settings, asking.rounds(folder, rehearsal=True))


def _before(folder: Path, asking: Asking) -> dict[str, Any]:
    """What stage segment says of itself; seeds alone do without it. Raises CorpusError."""
    if asking.about_units:
        return made_by(folder, "segment")
    return read_manifest(folder, "segment") or {"sha256": None, "rows": 0}


def _made_of(before: Row, settings: Settings, asking: Asking) -> dict[str, Any]:
    told = {
        "units": before["sha256"],
        "model": settings.teacher_model,
        "prompts": {name: prompt_hashes(name.replace("-", "_")) for name in asking.kinds},
        "pairs": asking.pairs,
        "terms": list(asking.terms),
    }
    if not asking.seeded:
        return told
    seeds = sha256(asking.seeds) if asking.seeds else None
    return {**told, "seeds": seeds, "instructions": asking.instructions}


def _with_documents(folder: Path) -> Iterator[tuple[Row, Row]]:
    """Each unit with its document; both files have the same order."""
    documents = lines_of(folder / "documents.jsonl")
    document: Row = {"id": None}
    for unit in lines_of(folder / "units.jsonl"):
        while document["id"] != unit["document"]:
            found = next(documents, None)
            if found is None:
                raise CorpusError(
                    f"documents.jsonl in {folder} is not what units.jsonl was cut from. Do stage "
                    "segment again: redraft corpus segment."
                )
            document = found
        yield unit, document


def _themes(folder: Path) -> tuple[list[str], str]:
    """The themes of the units, and what one of them says; nothing where there are none."""
    themes, sample = dict[str, None](), ""
    if (folder / "units.jsonl").exists():
        for unit in lines_of(folder / "units.jsonl"):
            themes[unit["theme"]] = None
            sample = sample or unit["content"]
    return [theme for theme in themes if theme], sample


def _found(task: Task, answer: Answer, model: str) -> Iterator[Found]:
    """The rows of a unit, and what happened on the way."""
    yield from answer.notes
    if answer.fault:
        yield Trouble(f"{task.place}: {answer.fault}")
    unit, kind = task.subject["unit"], task.subject["kind"]
    for item in answer.items:
        yield answer_row(unit, item, model, task.prompt.hash, kind)


def answer_row(unit: Row, item: Item, model: str, prompt: str, kind: str = DEFAULT) -> Row:
    """`{id, kind, unit, document, source, part, theme, question, answer, model, prompt}`.

    A kind can have more. The id is that of the unit and the texts.
    """
    told = [unit["id"], kind, *(item[name] for name in kind_named(kind).texts)]
    named = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    origin = {name: unit[name] for name in ("document", "source", "part", "theme")}
    return {
        "id": f"q-{named[:16]}",
        "kind": kind,
        "unit": unit["id"],
        **origin,
        **item,
        "model": model,
        "prompt": prompt,
    }
