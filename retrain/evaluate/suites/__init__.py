"""Questions with known answers in plain files: how many does an adapter get right?

A row is `{question, choices, answer}`, of which the choice that is the likeliest per token counts
and `answer` is the index of the right one, or `{question, accept}`, which is answered greedily and
right when one of the regular expressions in `accept` is found in it, blind to case. The files in
this folder are general ones, written for this purpose; none of their questions is trained on.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from retrain.manifest import read_rows
from serve.engines.base import Engine, Message, likeliest

FOLDER = Path(__file__).parent
LONGEST = 64  # tokens of an answer
AT_ONCE = 8

SHIPPED = "shipped"

Row = Mapping[str, Any]
Beat = Callable[[], None]


class SuiteError(Exception):
    """A file of questions cannot be read; the message names the row."""


def shipped() -> list[Path]:
    """The files in this folder."""
    return sorted(FOLDER.glob("*.jsonl"))


def read_suite(path: Path) -> list[dict[str, Any]]:
    """The checked rows of a file. Raises SuiteError."""
    try:
        rows = read_rows(path)
    except (OSError, ValueError) as error:
        raise SuiteError(f"{path} is not JSON Lines in UTF-8: {error}.") from error
    for number, row in enumerate(rows, 1):
        try:
            _check(row)
        except (KeyError, TypeError, ValueError, re.error) as error:
            raise SuiteError(
                f"{path}, row {number} is not {{question, choices, answer}} or {{question, "
                f"accept}}: {error!r}. Correct or remove it."
            ) from error
    if not rows:
        raise SuiteError(f"{path} has no rows.")
    return rows


def chosen(place: str) -> dict[str, list[dict[str, Any]]]:
    """The rows by file name that a setting means: a file, a folder of `.jsonl` files, `shipped`, or
    none for "". Raises SuiteError.
    """
    if not place:
        return {}
    path = Path(place).expanduser()
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if place == SHIPPED:
        files = shipped()
    if not files:
        raise SuiteError(f"The folder {path} of REDRAFT_SUITES has no file named *.jsonl.")
    return {file.stem: read_suite(file) for file in files}


def answered(
    engine: Engine, rows: Sequence[Row], adapter: str | None, beat: Beat = lambda: None
) -> list[bool]:
    """For each row whether the adapter (None: the base model) gets it right.

    `beat` is called after each, from several threads.
    """

    def one(row: Row) -> bool:
        right = (_chooses if "choices" in row else _writes)(engine, row, adapter)
        beat()
        return right

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, rows))


def won_and_lost(new: Sequence[bool], old: Sequence[bool]) -> tuple[int, int]:
    """How many questions only `new` gets right, and how many only `old` does."""
    pairs = list(zip(new, old, strict=True))
    return sum(n and not o for n, o in pairs), sum(o and not n for n, o in pairs)


def _check(row: Row) -> None:
    if not isinstance(row["question"], str):
        raise TypeError("question is no text")
    if "choices" in row:
        if not 0 <= row["answer"] < len(row["choices"]) or not all(row["choices"]):
            raise ValueError("answer is no index of a choice")
        return
    if not row["accept"] or isinstance(row["accept"], str):
        raise ValueError("accept is no list")
    for pattern in row["accept"]:
        re.compile(pattern)


def _asked(row: Row) -> list[Message]:
    return [{"role": "user", "content": row["question"]}]


def _chooses(engine: Engine, row: Row, adapter: str | None) -> bool:
    prompt = engine.encode_chat(_asked(row))
    scores = [fmean(engine.score(prompt, engine.encode(c), adapter)) for c in row["choices"]]
    return bool(scores.index(max(scores)) == row["answer"])


def _writes(engine: Engine, row: Row, adapter: str | None) -> bool:
    text = likeliest(engine, _asked(row), LONGEST, adapter)
    return any(re.search(pattern, text, re.I) for pattern in row["accept"])
