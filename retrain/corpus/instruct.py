"""Self-Instruct: instructions out of instructions (Wang et al. 2023, arXiv 2212.10560).

Each request shows the teacher some instructions, six of the seeds and two of its own earlier ones
as in the paper, and asks for others of the field. One that is nearer than ROUGE-L 0.7 to one that
there is does not count, nor does one about pictures, sound or links. Unlike in the paper, an
instruction comes with its answer in one request, as chat models can do that.

Requests go out in rounds, and each draws from what the rounds before it gave. So a run that goes on
reads its earlier answers again, from the account, and asks the same as if nothing had happened.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prompts import FOLDER
from retrain.corpus.asking import Answer, Form, Round, Task, prompt_language, prompt_of
from retrain.corpus.stage import CorpusError, Note
from retrain.terms import words

SEEDS, OWN = 6, 2  # instructions that a request shows
ROUND = 8  # requests
THEMES = 5  # of the documents that a request names
TOO_NEAR = 0.7
BLIND = re.compile(
    r"\b(?:images?|pictures?|photos?|graphs?|charts?|diagrams?|drawings?|videos?|audio|links?|urls?)"
    r"\b|图片|图像|照片|图表|视频|音频|录音|链接|网址",
    re.IGNORECASE,
)


@dataclass
class Pool:
    """The instructions that there are: `seeds`, and what was made of them.

    With `rehearsal`, what is not known yet is as long as it can be.
    """

    seeds: Sequence[str]
    rehearsal: bool = False
    own: list[str] = field(default_factory=list)
    _known: list[list[str]] = field(init=False)
    _longest: str = field(init=False)

    def __post_init__(self) -> None:
        self._known = [words(seed) for seed in self.seeds]
        self._longest = max(self.seeds, key=lambda seed: len(seed.encode()))

    def shown(self, number: int) -> list[str]:
        """What request `number` shows: the same for the same pool."""
        draw = random.Random(number)  # noqa: S311 - a choice of examples, not a secret
        own = draw.sample(self.own, min(OWN, len(self.own)))
        if self.rehearsal and number >= ROUND:
            own += [self._longest] * (OWN - len(own))
        return [*draw.sample(self.seeds, SEEDS), *own]

    def new(self, answer: Answer) -> Answer:
        """The answer with what is new in it, which the pool then has."""
        told = [(item, self._amiss(item["question"])) for item in answer.items]
        notes = [Note(reason) for _, reason in told if reason]
        items = [item for item, reason in told if not reason]
        return replace(answer, items=items, notes=[*answer.notes, *notes])

    def _amiss(self, instruction: str) -> str:
        said = words(instruction)
        if BLIND.search(instruction):
            return "instruction about what no text is"
        if any(rouge_l(said, known) >= TOO_NEAR for known in self._known):
            return "instruction near to another"
        self._known.append(said)
        if len(instruction.encode()) <= len(self._longest.encode()):
            self.own.append(instruction)
        return ""


def read_seeds(file: Path | None, sample: str) -> list[str]:
    """The instructions of a file, one a line; without one ours, in the language of the sample.

    Raises CorpusError.
    """
    path = file or FOLDER / "corpus" / "instruct" / f"{prompt_language(sample)}.txt"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"The seeds in {path} cannot be read: {error}.") from error
    seeds = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(seeds) < SEEDS:
        raise CorpusError(
            f"{path} has {len(seeds)} instructions, and each request shows {SEEDS}. Write more, "
            "one a line; about a hundred are usual."
        )
    return seeds


def rounds(
    pool: Pool, form: Form, requests: int, themes: Sequence[str], terms: Sequence[str]
) -> Iterator[Round]:
    """So many requests in rounds, each of which knows what came of those before it."""
    prompt = prompt_of("instruct", prompt_language("\n".join(pool.seeds)))
    for begin in range(0, requests, ROUND):
        tasks = []
        for number in range(begin, min(begin + ROUND, requests)):
            draw = random.Random(number)  # noqa: S311
            values = {
                "count": form.most,
                "themes": draw.sample(themes, min(THEMES, len(themes))),
                "terms": terms,
                "instructions": pool.shown(number),
            }
            tasks.append(Task(_subject(number), f"seeds, request {number}", prompt, values, form))
        yield Round(tasks, pool.new, again=True)


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """The F-measure of the longest common subsequence of words, 0 to 1 (Lin 2004)."""
    both = len(one) + len(other) or 1
    most = 2 * (Counter(one) & Counter(other)).total() / both
    return most if most < TOO_NEAR else 2 * _common(one, other) / both


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        before = row
        row = [0]
        for at, another in enumerate(other):
            row.append(before[at] + 1 if word == another else max(row[at], before[at + 1]))
    return row[-1]


def _subject(number: int) -> dict[str, object]:
    """What rows of a request have in the place of a unit: they are of one part of the seeds."""
    unit = {"id": "", "document": "seeds", "source": "seeds", "part": str(number), "theme": ""}
    return {"unit": unit, "kind": "instruct", "key": f"seeds {number} instruct"}
