"""The written dataset as what a run learns and is judged by: its split, its rows, its name."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from corpus_dataset import make_corpus

from retrain import datasets, select
from retrain.corpus import rows as corpora
from retrain.corpus.check import check
from retrain.corpus.stage import CorpusError
from retrain.corpus.write import ALONE, split, write
from retrain.datasets import columns
from retrain.evaluate.items import count_by_kind, held_out_items
from retrain.manifest import read_rows, sha256, write_json, write_rows
from retrain.rows import is_train
from retrain.select import Means
from serve.settings import Settings


def asked(documents: int, questions: int) -> list[dict[str, Any]]:
    return [
        {"id": f"{d} {q}", "source": f"{d}.csv", "part": "", "question": f"Question {q} of {d}?"}
        for d in range(documents)
        for q in range(questions)
    ]


def by_document(found: dict[str, str]) -> dict[str, list[str]]:
    parts = defaultdict(list)
    for id, part in found.items():
        parts[id.split()[0]].append(part)
    return parts


def test_a_document_is_on_one_side() -> None:
    found = by_document(split(asked(200, 4), 0.3))
    assert all(len(set(parts)) == 1 for parts in found.values())
    assert 40 < sum(parts[0] == "heldout" for parts in found.values()) < 80


def test_by_question_what_is_held_out_is_about_documents_that_are_trained_on() -> None:
    found = split(asked(200, 4), 0.3, "question")
    for parts in by_document(found).values():
        assert "train" in parts or set(parts) == {ALONE}
    assert 180 < list(found.values()).count("heldout") < 300
    assert list(split(asked(50, 1), 0.3, "question").values()).count("heldout") == 0


def test_a_larger_corpus_moves_no_question_to_the_other_side() -> None:
    small, large = split(asked(60, 2), 0.4, "question"), split(asked(90, 4), 0.4, "question")
    moved = {(part, large[id]) for id, part in small.items() if part != large[id]}
    assert moved == {(ALONE, "heldout")}, "never trained on before it is held out"


def test_rows_are_learned_and_held_out_like_feedback(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path)
    found = corpora.read(corpora.look(folder), after=30)
    train = [row for row in found if is_train(row)]
    assert [row["seq"] for row in found] == list(range(31, 31 + len(found)))
    assert columns(datasets.build("sft", train)[0]) == {
        "prompt": train[0]["messages"],
        "completion": [
            {
                "role": "assistant",
                "content": train[0]["payload"]["text"],
                "finish_reason": "stop",
            }
        ],
        "weight": 1.0,
    }
    assert not any(datasets.build(name, train) for name in datasets.names() if name != "sft")
    items = held_out_items(found)
    assert count_by_kind(items) == {"corpus": len(found) - len(train)}
    assert all(len(item.messages) == 1 and "door" in item.messages[0]["content"] for item in items)
    written = read_rows(folder / "dataset/sft.heldout.jsonl")
    assert {item.good[0].text for item in items} == {
        row["completion"][0]["content"] for row in written
    }


def test_of_more_than_a_run_needs_some_are_chosen(tmp_path: Path) -> None:
    found = corpora.read(corpora.look(make_corpus(tmp_path)), after=0)
    kept = select.select(found, "k_center", 10, 0.3, 0, Means())
    assert sum(map(is_train, kept)) == 10
    held = [row for row in found if not is_train(row)]
    assert [row for row in kept if not is_train(row)] == held
    doors = {row["conversation_id"] for row in kept if is_train(row)}
    assert len(doors) > 5, "those chosen cover the documents"


def test_a_dataset_that_was_changed_is_noticed(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path)
    before = corpora.look(folder)
    assert corpora.look(folder) == before
    with (folder / "dataset/sft.train.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(CorpusError, match="a file was changed. Write it again: redraft corpus"):
        corpora.look(folder)
    write(folder, Settings(holdout_share=0.4), by="question")
    assert corpora.look(folder) == before
    write(folder, Settings(holdout_share=0.4), by="document")
    with pytest.raises(CorpusError, match="was changed since this run began. Start a new one"):
        corpora.read(before, after=0)


def test_a_dataset_older_than_its_rows_is_noticed(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path)
    answers = read_rows(folder / "answers.jsonl")
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers[:20]))
    told = json.loads((folder / "generate.json").read_text())
    (folder / "generate.json").write_text(json.dumps(told | {"sha256": "anew"}))
    check(folder)
    with pytest.raises(CorpusError, match="is older than the rows it is made of"):
        corpora.look(folder)


def test_the_manifest_says_where_it_comes_from(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path, documents=5)
    corpus = corpora.look(folder)
    found = corpora.facts(corpus, corpora.read(corpus, after=0))
    assert (found["folder"], found["digest"]) == (str(folder), corpus["digest"])
    assert (found["documents"], found["teachers"]) == (5, [])
    assert found["made_of"]["by"] == "question"


def test_what_is_not_written_is_no_corpus_to_learn(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="redraft corpus write"):
        corpora.look(tmp_path)


def written_of(folder: Path, *rows: dict[str, Any]) -> Path:
    told = {"source": "a.txt", "part": "", "theme": "", "model": "m", "prompt": "h"}
    write_rows(folder / "rows.jsonl", ({**told, **row} for row in rows))
    digest = sha256(folder / "rows.jsonl")
    write_json(folder / "check.json", {"sha256": digest, "rows": len(rows)})
    write(folder, Settings(holdout_share=0))
    return folder


def test_every_answer_of_a_dialogue_is_learned(tmp_path: Path) -> None:
    said = [
        {"role": role, "content": text}
        for role, text in zip(["user", "assistant"] * 2, "abcd", strict=True)
    ]
    talk = {"id": "q-1", "kind": "dialogue", "question": "a", "answer": "d", "messages": said}
    corpus = corpora.look(written_of(tmp_path, talk))
    found = corpora.read(corpus, after=0)
    assert [(len(row["messages"]), row["payload"]["text"]) for row in found] == [(1, "b"), (3, "d")]
    assert len({row["feedback_id"] for row in found}) == 2
    assert corpora.facts(corpus, found)["teachers"] == ["m"]


def test_a_corpus_for_other_trainers_alone_is_refused(tmp_path: Path) -> None:
    pair = {"id": "q-1", "kind": "preference", "question": "a", "answer": "b", "rejected": "c"}
    with pytest.raises(CorpusError, match="no sft.train.jsonl, which is what a run learns"):
        corpora.look(written_of(tmp_path, pair))
