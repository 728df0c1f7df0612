"""How much sooner an answer is whole when it stops after its conclusion, at `####`.

    python bench/stop_token.py gsm8k_train.jsonl [--rows 400] [--unseen 40] [--adapter FOLDER]

The file has rows of {question, answer} as GSM8K gives them, `steps #### answer`. The first --rows
of them, turned round to `answer #### steps`, train an adapter with the project's own SFT trainer
(--adapter: keep it there, or take the one that is there). Each of --unseen later questions is then
answered twice under one seed by the serving engine, one after another: stopped at the delimiter,
and in full. Printed are the medians over the rows of which the reasoning is at least six times as
long as the conclusion, and the same over all: tokens of the conclusion and of the whole, their
ratio, seconds of each, their ratio, and the share of the two ratios that stopping reaches.

A ratio of tokens alone promises too much, as reading the question costs the same either way. So
the second promise counts it: (first token + rest) over the same for the conclusion, with the
seconds to a first token and between two tokens as measured on the whole answers of the same run.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompts.answer_first import DELIMITER, join_answer, split_answer
from retrain.job import TrainJob
from retrain.trainers import sft
from serve.engines import open_engine
from serve.engines.base import Engine, Sampling
from serve.engines.builtin import model_source
from serve.settings import load_settings

LONGEST = 320  # tokens of a whole answer
SETTINGS: dict[str, Any] = {"epochs": 1.0, "min_steps": 0, "replay": 0, "group_by_length": True}
NAME = "stop-token-bench"


def turned(row: dict[str, str]) -> dict[str, Any]:
    """GSM8K's `steps #### answer` as an SFT row `answer #### steps`, calculator marks taken out."""
    steps, _, answer = row["answer"].partition(DELIMITER)
    text = join_answer(answer, re.sub(r"<<.*?>>", "", steps))
    return {
        "prompt": [{"role": "user", "content": row["question"]}],
        "completion": [{"role": "assistant", "content": text}],
    }


@dataclass(frozen=True)
class Timed:
    """One answer: its text, tokens, and the seconds to its first token and to its end."""

    text: str
    tokens: int
    first: float
    seconds: float


def timed(engine: Engine, question: str, stop: bool, temperature: float, seed: int) -> Timed:
    sampling = Sampling(
        max_tokens=LONGEST,
        temperature=temperature,
        seed=seed,
        stop=(DELIMITER,) if stop else (),
    )
    prompt = engine.encode_chat([{"role": "user", "content": question}])
    started, first, text, tokens = time.perf_counter(), 0.0, "", 0
    for chunk in engine.generate(prompt, sampling, NAME):
        first = first or time.perf_counter() - started
        text, tokens = text + chunk.text, tokens + len(chunk.token_ids)
    return Timed(text, tokens, first, time.perf_counter() - started)


@dataclass(frozen=True)
class Measured:
    """One question answered both ways."""

    stopped: Timed
    whole: Timed

    @property
    def same(self) -> bool:
        return self.stopped.text.strip() == split_answer(self.whole.text)[0].strip()

    @property
    def tokens(self) -> float:
        return self.whole.tokens / self.stopped.tokens

    @property
    def seconds(self) -> float:
        return self.whole.seconds / self.stopped.seconds

    @property
    def promised(self) -> float:
        """The ratio of seconds that the token counts allow when the question must be read."""
        step = (self.whole.seconds - self.whole.first) / max(1, self.whole.tokens - 1)
        rest = [self.whole.first + step * (one.tokens - 1) for one in (self.whole, self.stopped)]
        return rest[0] / rest[1]


def line(name: str, found: list[Measured]) -> str:
    def middle(values: Iterable[float]) -> float:
        return float(statistics.median(values))

    return (
        f"| {name} | {len(found)} | {middle(m.stopped.tokens for m in found):.0f} "
        f"| {middle(m.whole.tokens for m in found):.0f} | {middle(m.tokens for m in found):.1f} "
        f"| {middle(m.stopped.seconds for m in found):.2f} "
        f"| {middle(m.whole.seconds for m in found):.2f} "
        f"| {middle(m.seconds for m in found):.1f} "
        f"| {middle(m.seconds / m.tokens for m in found):.0%} "
        f"| {middle(m.seconds / m.promised for m in found):.0%} "
        f"| {sum(m.same for m in found)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=400, help="rows to train on")
    parser.add_argument("--unseen", type=int, default=40, help="questions to measure")
    parser.add_argument("--adapter", type=Path, help="keep the adapter in this folder")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--model", help="the configured one when not given")
    given = parser.parse_args()
    settings = load_settings(**({"model": given.model} if given.model else {}))
    rows = [json.loads(text) for text in given.data.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        adapter = given.adapter or Path(scratch) / "adapter"
        if not adapter.exists():
            model = Path(model_source(settings.model, settings.home))
            examples = [turned(row) for row in rows[: given.rows]]
            sft.train(TrainJob(model=model, out=adapter, rows=examples, settings=SETTINGS))
        engine = open_engine("transformers", settings.model, settings.home)
        engine.load_adapter(NAME, adapter)
        measure(engine, rows[given.rows :][: given.unseen], given.temperature)
        engine.close()


def measure(engine: Engine, rows: list[dict[str, str]], temperature: float) -> None:
    found, without = [], 0
    timed(engine, rows[0]["question"], False, temperature, 0)  # warms up
    for seed, row in enumerate(rows):
        whole = timed(engine, row["question"], False, temperature, seed)
        stopped = timed(engine, row["question"], True, temperature, seed)
        if DELIMITER in whole.text:
            found.append(Measured(stopped, whole))
        else:
            without += 1
    print(f"<!-- {without} of {len(rows)} answers came without {DELIMITER} and are left out -->")
    print(
        "| reasoning | n | tokens, conclusion | whole | ratio | s, conclusion | whole | ratio ",
        end="",
    )
    print("| of tokens | of promise | same text |")
    print("|" + " --- |" * 11)
    long = [m for m in found if m.whole.tokens - m.stopped.tokens >= 6 * m.stopped.tokens]
    print(line("at least 6 ×", long))
    print(line("all", found))


if __name__ == "__main__":
    main()
