"""Other data beside feedback: how much of which, and what a file may hold."""

import json
from collections import Counter
from pathlib import Path

import pytest

from retrain.datasets import columns
from retrain.replay import replayed
from retrain.work import Unusable
from serve.settings import Settings


def file(folder: Path, name: str, *rows: object) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def pairs(count: int) -> list[dict[str, str]]:
    return [{"question": f"Why {n}?", "answer": f"So {n}."} for n in range(count)]


@pytest.mark.parametrize(
    ("general", "domain", "expected"),
    [
        (90, 90, {"replay general": 28, "replay domain": 12}),
        (90, 5, {"replay general": 28, "replay domain": 5}),
        (90, 0, {"replay general": 40}),
        (0, 90, {"replay domain": 40}),
        (0, 0, {}),
    ],
)
def test_seventy_to_thirty_beside_as_many(
    tmp_path: Path, general: int, domain: int, expected: dict[str, int]
) -> None:
    files = {
        f"replay_{name}": file(tmp_path, name, *pairs(count)) if count else ""
        for name, count in (("general", general), ("domain", domain))
    }
    settings = Settings(**files)  # type: ignore[arg-type]
    found = replayed(40, settings, draw=3)
    assert Counter(example["signal"] for example in found) == expected
    assert found == replayed(40, settings, draw=3)
    assert not found or len(found) > 60 or found != replayed(40, settings, draw=4)


def test_shares_can_be_set(tmp_path: Path) -> None:
    settings = Settings(
        replay_general=file(tmp_path, "general", *pairs(500)),
        replay_domain=file(tmp_path, "domain", *pairs(500)),
        replay_share=0.8,
        replay_general_share=0.25,
    )
    found = Counter(example["signal"] for example in replayed(40, settings, draw=0))
    assert found == {"replay general": 40, "replay domain": 120}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "completion": "So."},
        {
            "prompt": [{"role": "user", "content": "Why?"}],
            "completion": [{"role": "assistant", "content": "So."}],
        },
        {
            "messages": [
                {"role": "user", "content": "Why?"},
                {"role": "assistant", "content": "So."},
                {"role": "user", "content": "Thanks."},
            ]
        },
        {"instruction": "Why?", "input": "", "output": "So."},
        {"question": "Why?", "answer": "So."},
    ],
)
def test_every_form_becomes_what_the_trainer_reads(tmp_path: Path, row: object) -> None:
    (found,) = replayed(1, Settings(replay_general=file(tmp_path, "general", row)), draw=0)
    assert columns(found) == {
        "prompt": [{"role": "user", "content": "Why?"}],
        "completion": [{"role": "assistant", "content": "So.", "finish_reason": "stop"}],
        "weight": 1.0,
    }


@pytest.mark.parametrize("row", [{"text": "Why?"}, {"question": "Why?", "answer": " "}, [1]])
def test_a_row_of_another_form_is_refused_by_name(tmp_path: Path, row: object) -> None:
    settings = Settings(replay_domain=file(tmp_path, "domain", row))
    with pytest.raises(Unusable, match="REDRAFT_REPLAY_DOMAIN .*domain.jsonl has a row"):
        replayed(1, settings, draw=0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="REDRAFT_REPLAY_GENERAL .* No such file"):
        replayed(1, Settings(replay_general=str(tmp_path / "no.jsonl")), draw=0)


@pytest.mark.parametrize(
    ("share", "general", "expected"),
    [(0.7, 500, 233), (0.7, 90, 90), (0.0, 500, 0), (1.0, 4000, 1900), (0.7, 0, 0)],
)
def test_a_corpus_is_mixed_with_general_data_seventy_to_thirty(
    tmp_path: Path, share: float, general: int, expected: int
) -> None:
    name = file(tmp_path, "general", *pairs(general)) if general else ""
    settings = Settings(replay_general=name, replay_general_share=share)
    found = replayed(0, settings, draw=0, corpus=100)
    assert Counter(example["signal"] for example in found) == Counter({"replay general": expected})


def test_beside_a_corpus_and_feedback_each_has_its_own(tmp_path: Path) -> None:
    settings = Settings(
        replay_general=file(tmp_path, "general", *pairs(500)),
        replay_domain=file(tmp_path, "domain", *pairs(500)),
    )
    found = Counter(example["signal"] for example in replayed(40, settings, draw=0, corpus=30))
    assert found == {"replay general": 28 + 70, "replay domain": 12}
