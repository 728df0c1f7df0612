"""What candidate and champion write to held-out questions of a corpus, beside what it says itself.

Closed-book: they see the question alone. The number is the F1 of the words that an answer and the
corpus's own have in common (SQuAD, Rajpurkar et al. 2016, arXiv 1606.05250), each Chinese,
Japanese or Korean character a word. The likelihood of the corpus's answers decides; a likelier
answer that is not written any nearer is what this is there to show. Beside it stands the same F1
with the corpus's answers to the other questions: where that rises as much, what was learned is how
the corpus talks, whatever it is asked.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from retrain.evaluate.items import Item
from retrain.evaluate.measure import Gain, Tick
from retrain.rows import CORPUS
from retrain.terms import words
from serve.engines.base import Engine, likeliest

KIND = "overlap"
SIDES = ("candidate", "champion")
MOST = 60  # questions; the first of a stable order
LONGEST = 256  # tokens of an answer
AT_ONCE = 8


@dataclass(frozen=True)
class Overlap:
    """One question with the corpus's answer, and those of candidate and champion with their F1."""

    key: str
    question: str
    gold: str
    texts: tuple[str, str]  # of candidate and champion
    candidate: float
    champion: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def gain(self) -> Gain:
        rise = self.candidate - self.champion
        return Gain(KIND, self.key, rise, rise)


def overlaps(
    engine: Engine,
    items: Sequence[Item],
    champion: str | None,
    candidate: str,
    tick: Tick = lambda step, total: None,
) -> list[Overlap]:
    """The overlap on the items of a corpus, greedy answers of both."""
    asked = [item for item in items if item.kind == CORPUS][:MOST]
    found: list[Overlap] = []

    def of(item: Item) -> Overlap:
        new, old = (_answer(engine, item, adapter) for adapter in (candidate, champion))
        question, gold = str(item.messages[-1]["content"]), item.good[0].text
        return Overlap(item.key, question, gold, (new, old), f1(new, gold), f1(old, gold))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for one in pool.map(of, asked):
            found.append(one)
            tick(len(found), len(asked))
    return found


def summarise(found: Sequence[Overlap]) -> dict[str, Any] | None:
    """{items, candidate, champion, others} with the mean F1 of each, `others` being {candidate,
    champion} with that of the answers to other questions; None where nothing was asked."""
    if not found:
        return None
    own = {side: fmean(getattr(one, side) for one in found) for side in SIDES}
    others = {side: _with_others(found, place) for place, side in enumerate(SIDES)}
    return {
        "items": len(found),
        **{side: round(mean, 4) for side, mean in own.items()},
        "others": {side: round(mean, 4) for side, mean in others.items()},
    }


def _with_others(found: Sequence[Overlap], place: int) -> float:
    pairs = ((one, other) for one in found for other in found if one.key != other.key)
    shared = [f1(one.texts[place], other.gold) for one, other in pairs]
    return fmean(shared) if shared else 0.0


def f1(said: str, gold: str) -> float:
    """Twice the words in common over the words of both, 0 to 1; how often a word stands counts."""
    one, other = Counter(words(said)), Counter(words(gold))
    both = one.total() + other.total()
    return 2 * (one & other).total() / both if both else 0.0


def _answer(engine: Engine, item: Item, adapter: str | None) -> str:
    return likeliest(engine, list(item.messages), LONGEST, adapter)
