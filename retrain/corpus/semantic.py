"""Stage 2 by the teacher: units `{theme, content}` as the themes of a document go.

A document is shown in windows that overlap, so that what one window cuts the next one has whole.
What comes of its answers is in `retrain.corpus.placing`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from retrain.corpus.asking import (
    Answer,
    Form,
    Lesson,
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
from retrain.corpus.parsing import Item, text_in
from retrain.corpus.placing import rows
from retrain.corpus.segment import (
    LONGEST,
    NAME,
    OUTPUT,
    SHORTEST,
    pieces,
    size,
)
from retrain.corpus.sentences import Span
from retrain.corpus.stage import Row, Stage, Tick, lines_of, made_by
from serve.settings import Settings

PROMPT = "units"
WINDOW, OVERLAP = 4000, 800  # as `size` counts
THEME = 80  # characters
TOKENS = 200  # for a unit, of SHORTEST on average where there are most
AT_ONCE = 64  # documents
OTHER = "other"  # the theme of what has none of those that are set


@dataclass(frozen=True)
class Cutting:
    """How the teacher cuts: into units of at most `longest`, of these themes or of its own."""

    themes: Sequence[str] = ()
    longest: int = LONGEST

    def form(self, shown: int) -> Form:
        """The form of an answer about a window of that size: it can hold the window once."""
        theme = {"type": "string", "enum": [*self.themes, OTHER]} if self.themes else text(THEME)
        item = closed({"theme": theme, "content": text(min(self.longest, shown))})
        return Form("units", item, ceil(shown / SHORTEST), TOKENS, self.fit)

    def fit(self, item: Item) -> Item:
        theme = text_in(item, "theme", "unit without a text")
        known = {one.casefold(): one for one in self.themes}
        own = theme[:THEME] if not self.themes else known.get(theme.casefold(), OTHER)
        return {"theme": own, "content": text_in(item, "content", "unit without a text")}

    def tasks(self, documents: Iterable[Row]) -> Iterator[Task]:
        """A task for each window of each document."""
        for document in documents:
            for start, end in windows(document, self.longest):
                content = document["text"][start:end]
                yield Task(
                    {"document": document["id"], "window": (start, end)},
                    f"{document['source']}, characters {start} to {end}",
                    prompt_of(PROMPT, prompt_language(content)),
                    {"title": document["title"], "themes": self.themes, "content": content},
                    self.form(size(content)),
                )


def segment(
    folder: Path,
    settings: Settings,
    cutting: Cutting,
    tick: Tick = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Have all documents of `folder` cut; gives the stage's manifest.

    Raises Stopped or OverBudget with work left: the same call goes on, and pays for nothing twice.
    """
    before = made_by(folder, "extract")
    stage = Stage(folder, NAME, OUTPUT, _made_of(before, settings, cutting))
    if stage.done:
        return stage.done
    with lesson(stage, settings) as at_work:
        documents = lines_of(folder / "documents.jsonl")
        todo = (one for one in documents if one["id"] not in stage.keys)
        while batch := list(islice(todo, AT_ONCE)):
            told = _told(at_work, cutting, batch)
            for document in batch:
                found = rows(document, told.get(document["id"], ()), cutting.longest)
                stage.add(document["id"], found)
            tick(at_work.label, stage.summary.inputs, before["rows"])
        return at_work.finish()


def estimate_cut(folder: Path, settings: Settings, cutting: Cutting) -> dict[str, Any]:
    """What is left to ask and to pay: about, and at most; nothing is asked."""
    made_by(folder, "extract")
    tasks = cutting.tasks(lines_of(folder / "documents.jsonl"))
    return estimate(folder, settings, [Round(tasks)])


def windows(document: Row, longest: int = LONGEST) -> Iterator[Span]:
    """Stretches of the text of at most WINDOW, cut between blocks and sentences.

    Long tables, which are cut between their rows, are in none; nor are texts too short to cut.
    """
    said, run = document["text"], list[Span]()
    if size(said) <= SHORTEST:
        return
    for block in document["blocks"]:
        whole = block["kind"] in ("table", "code")
        if block["kind"] == "table" and size(said[block["start"] : block["end"]]) > longest:
            yield from _overlapping(said, run)
            run = []
            continue
        room = longest if whole else OVERLAP
        run += [spans[-1] for spans, _ in pieces(said, [block], room)]
    yield from _overlapping(said, run)


def _made_of(before: Row, settings: Settings, cutting: Cutting) -> dict[str, Any]:
    return {
        "documents": before["sha256"],
        "longest": cutting.longest,
        "model": settings.teacher_model,
        "prompts": prompt_hashes(PROMPT),
        "themes": list(cutting.themes),
    }


def _told(
    at_work: Lesson, cutting: Cutting, batch: Sequence[Row]
) -> dict[str, list[tuple[Span, Answer]]]:
    """The answers about the windows of each document, by its id."""
    told: dict[str, list[tuple[Span, Answer]]] = {}
    with closing(at_work.ask(cutting.tasks(batch))) as answers:
        for task, answer in answers:
            about = told.setdefault(task.subject["document"], [])
            about.append((task.subject["window"], answer))
    return told


def _overlapping(said: str, run: Sequence[Span]) -> Iterator[Span]:
    first, many = 0, len(run)
    while first < many:
        last = first
        while last + 1 < many and size(said[run[first][0] : run[last + 1][1]]) <= WINDOW:
            last += 1
        yield run[first][0], run[last][1]
        again = last + 1
        while again - 1 > first and size(said[run[again - 1][0] : run[last][1]]) <= OVERLAP:
            again -= 1
        first = many if last + 1 == many else again
