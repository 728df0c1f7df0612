"""A written corpus of tables of questions and answers, for the tests of runs that learn one."""

import contextlib
import csv
from pathlib import Path

from retrain.corpus.check import check
from retrain.corpus.extract import extract
from retrain.corpus.known import collect
from retrain.corpus.segment import segment
from retrain.corpus.write import write
from serve.settings import Settings

ASKED = (
    ("What is the code of door {}?", "The code of door {} is {}-blue."),
    ("Who keeps the key of door {}?", "The porter {} keeps the key of door {}."),
    ("When does door {} open?", "Door {} opens at {} o'clock."),
    ("Where does door {} lead?", "Door {} leads to hall {}."),
)


def make_corpus(
    folder: Path, documents: int = 12, by: str = "question", share: float = 0.4
) -> Path:
    """The corpus in `folder`, four questions about each door, a file a door."""
    tables = folder / "tables"
    tables.mkdir(parents=True)
    for number in range(documents):
        with (tables / f"door-{number}.csv").open("w", newline="") as file:
            rows = [
                (question.format(number), answer.format(number, number + 7))
                for question, answer in ASKED
            ]
            csv.writer(file).writerows([("question", "answer"), *rows])
    corpus = folder / "doors"
    with contextlib.chdir(folder):  # a source is split by its name: the same in every folder
        extract(corpus, [Path("tables")], None, 500)
    segment(corpus)
    collect(corpus)
    check(corpus)
    write(corpus, Settings(holdout_share=share), by=by)
    return corpus
