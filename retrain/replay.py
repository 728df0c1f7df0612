"""Other data that SFT sees beside feedback, so that nothing is forgotten while it learns.

Two files of JSON Lines: `REDRAFT_REPLAY_GENERAL`, and `REDRAFT_REPLAY_DOMAIN` with what an earlier
training on the domain was made of; a corpus that a run learns is the domain itself. A row is TRL's
`prompt` and `completion`, `messages`, of which the last answer is learned, Alpaca's `instruction`,
`input`, `output`, or `question` and `answer`. What earlier runs learned from feedback is in every
snapshot anyway; see `retrain.select` for how much of it counts.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrain.datasets import Example
from retrain.manifest import read_rows
from retrain.rows import answer
from retrain.work import Unusable
from serve.settings import Settings

SIGNAL = "replay"
LARGEST = 0.95  # share beside a corpus: some of it has to be there


def replayed(feedback: int, settings: Settings, draw: int, corpus: int = 0) -> list[Example]:
    """Examples to train on beside `feedback` ones and rows of a corpus; none where no file is set.

    Beside feedback they are `replay_share` of both together, `replay_general_share` of them general
    where there are both files. Beside a corpus the general ones are `replay_general_share` of both
    together. Another `draw` gives others. Raises Unusable.
    """
    wanted = round(feedback * settings.replay_share / (1 - settings.replay_share))
    mixed = round(corpus * _ratio(settings.replay_general_share))
    general, domain = settings.replay_general, settings.replay_domain
    part = round(wanted * settings.replay_general_share) if domain else wanted
    found = _sample("general", general, part + mixed, draw)
    return found + _sample("domain", domain, wanted - max(0, len(found) - mixed), draw)


def _ratio(share: float) -> float:
    """How many rows of a share there are to one that is not of it."""
    share = min(share, LARGEST)
    return share / (1 - share)


def _sample(name: str, file: str, room: int, draw: int) -> list[Example]:
    if not file or room <= 0:
        return []
    examples = _read(name, Path(file).expanduser())
    return random.Random(draw).sample(examples, min(room, len(examples)))  # noqa: S311


def _read(name: str, file: Path) -> list[Example]:
    setting = f"REDRAFT_REPLAY_{name.upper()}"
    try:
        rows = read_rows(file)
        return [_example(row, name) for row in rows]
    except OSError as error:
        raise Unusable(f"{setting} {file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Unusable(
            f"{setting} {file} has a row that is not {{prompt, completion}}, {{messages}}, "
            f"{{instruction, output}} or {{question, answer}}: {error!r}. Correct or remove it."
        ) from error


def _example(row: Mapping[str, Any], name: str) -> Example:
    prompt, said = _parts(row)
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    text = said if isinstance(said, str) else said[-1]["content"]
    if not text.strip() or not all(m["role"] and isinstance(m["content"], str) for m in messages):
        raise ValueError("an empty text")
    own = {"weight": 1.0, "signal": f"{SIGNAL} {name}", "feedback_id": ""}
    return {"prompt": messages, "completion": answer(text), **own}


def _parts(row: Mapping[str, Any]) -> tuple[Any, Any]:
    if "messages" in row:
        last = max(i for i, message in enumerate(row["messages"]) if message["role"] == "assistant")
        return row["messages"][:last], row["messages"][last]["content"]
    if "instruction" in row:
        return "\n\n".join(filter(None, (row["instruction"], row.get("input")))), row["output"]
    if "question" in row:
        return row["question"], row["answer"]
    return row["prompt"], row["completion"]
