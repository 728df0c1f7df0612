"""Questions and answers that documents have already: tables, records, chat logs."""

import csv
import json
from pathlib import Path

from click.testing import CliRunner

from retrain.corpus.check import check
from retrain.corpus.commands import group
from retrain.corpus.extract import extract
from retrain.corpus.known import collect, pairs
from retrain.corpus.segment import segment
from retrain.manifest import read_rows

FILES = Path(__file__).parent / "corpus"


def collected(folder: Path, *sources: Path) -> list[tuple[str, str]]:
    extract(folder, sources, None, 500)
    segment(folder)
    collect(folder)
    rows = read_rows(folder / "answers.jsonl")
    contents = {unit["id"]: unit["content"] for unit in read_rows(folder / "units.jsonl")}
    assert all(row["answer"][:40].split() and row["unit"] in contents for row in rows)
    return [(row["question"], row["answer"]) for row in rows]


def test_a_table_of_medquad_comes_out_as_it_went_in(tmp_path: Path) -> None:
    known = read_rows(FILES / "medquad.jsonl")
    with (tmp_path / "faq.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["No.", "Question", "Answer"])
        writer.writerows([n, row["question"], row["answer"]] for n, row in enumerate(known))
    found = collected(tmp_path / "corpus", tmp_path / "faq.csv")
    assert found == [(row["question"].strip(), row["answer"].strip()) for row in known]
    told = check(tmp_path / "corpus")
    assert told["rows"] > 250


def test_records_say_the_same(tmp_path: Path) -> None:
    found = collected(tmp_path / "corpus", FILES / "medquad.jsonl")
    known = read_rows(FILES / "medquad.jsonl")
    assert found == [(row["question"].strip(), row["answer"].strip()) for row in known]


def test_only_the_first_exchange_of_a_conversation_stands_alone(tmp_path: Path) -> None:
    found = collected(tmp_path / "corpus", FILES / "kdconv.jsonl")
    talks = [row["messages"] for row in read_rows(FILES / "kdconv.jsonl")]
    assert found == [(talk[0]["content"].strip(), talk[1]["content"].strip()) for talk in talks]


def test_what_nobody_asked_gives_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    talks = [
        {"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Ho"}]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Anyone?"}]},
        {"name": "Velmar", "weight": "27 kg"},
        {"问题": "多重？", "回答": "二十七公斤，不含水箱里的水。"},
    ]
    log.write_text("\n".join(json.dumps(talk, ensure_ascii=False) for talk in talks))
    extract(tmp_path / "corpus", [log], None, 500)
    documents = read_rows(tmp_path / "corpus/documents.jsonl")
    assert [pair["answer"] for row in documents for pair in pairs(row)] == [
        "二十七公斤，不含水箱里的水。"
    ]


def test_the_command_needs_no_teacher(tmp_path: Path) -> None:
    runner, into = CliRunner(), ["--into", str(tmp_path)]
    runner.invoke(group, ["extract", str(FILES / "medquad.jsonl"), *into])
    runner.invoke(group, ["segment", *into])
    done = runner.invoke(group, ["generate", "--known", *into])
    assert done.exit_code == 0, done.output
    assert "generate: 300 rows of 300 inputs" in done.stdout
