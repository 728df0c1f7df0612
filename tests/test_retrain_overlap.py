"""What is written to held-out questions of a corpus, beside what the corpus says."""

from collections.abc import Iterator
from typing import Any

import pytest
from retrain_rows import correction, of_corpus

from retrain.evaluate.items import held_out_items
from retrain.evaluate.overlap import f1, overlaps, summarise
from serve.engines.base import Chunk, Sampling
from serve.engines.echo import EchoEngine

HELD = {"split": "heldout"}


class Saying(EchoEngine):
    """Says what it was told to, by adapter; remembers what it was asked."""

    def __init__(self, **said: str) -> None:
        super().__init__("m")
        self.said, self.asked = said, list[str]()

    def generate(
        self, prompt_ids: Any, sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        self.asked.append(self.decode(prompt_ids))
        assert sampling.temperature == 0
        yield Chunk(0, self.said[adapter or "base"])


@pytest.mark.parametrize(
    ("said", "gold", "expected"),
    [
        ("The pump is red.", "the pump, is RED", 1.0),
        ("red red red", "red", 0.5),
        ("blue", "red", 0.0),
        ("", "red", 0.0),
        ("the pump", "the red pump is old", 2 * 2 / 7),
        ("每天清洁一次", "每周清洁一次", 10 / 12),
    ],
)
def test_the_words_in_common(said: str, gold: str, expected: float) -> None:
    assert f1(said, gold) == pytest.approx(expected)


def test_only_a_corpus_is_asked_and_without_its_document() -> None:
    rows = [of_corpus("The pump is red.", prompt="Which pump?", **HELD)]
    rows += [of_corpus("Trained on."), correction("Right.", **HELD)]
    engine = Saying(base="No idea.", better="It is the red pump.")
    (found,) = overlaps(engine, held_out_items(rows), None, "better")
    assert (found.candidate, found.champion) == (pytest.approx(2 * 4 / 9), 0.0)
    assert found.gain.gain == found.candidate and found.gain.kind == "overlap"
    assert len(engine.asked) == 2 and all("Which pump?" in asked for asked in engine.asked)
    assert (found.question, found.gold) == ("Which pump?", "The pump is red.")
    told = summarise([found])
    assert told is not None and told["items"] == 1
    assert (told["candidate"], told["champion"]) == (0.8889, 0.0)


def test_talking_like_the_corpus_is_told_from_answering_as_it_does() -> None:
    rows = [of_corpus(f"The pump is {n}", prompt=f"Pump {n}?", **HELD) for n in ("red", "blue")]
    engine = Saying(base="No idea", better="The pump is red")
    told = summarise(overlaps(engine, held_out_items(rows), None, "better"))
    assert told is not None
    assert told["candidate"] == told["others"]["candidate"] == 0.875
    assert told["others"]["champion"] == 0.0


def test_without_a_corpus_there_is_nothing_to_say() -> None:
    assert overlaps(Saying(), held_out_items([correction("Right.", **HELD)]), None, "better") == []
    assert summarise([]) is None
