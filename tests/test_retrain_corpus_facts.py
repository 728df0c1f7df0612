"""Facts of tables and records, and the questions that a teacher asks about them (Self-KV)."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from teacher_server import Body, Play, TeacherServer
from test_retrain_corpus_segment import row_of

from retrain.corpus.commands import group
from retrain.corpus.document import Block
from retrain.corpus.extract import extract
from retrain.corpus.facts import facts_of
from retrain.corpus.segment import segment, unit_rows
from retrain.manifest import read_json, read_rows

CODES = [
    ["Code", "Meaning", "Remedy"],
    ["E-01", "Tank empty", "Fill it"],
    ["E-02", "Tray full", ""],
]
DATA = [["Property", "Value"], ["Weight", "27 kg"], ["Voltage", "230 V"]]
TRIPLES = [["Head", "Relation", "Tail"], ["Velmar 300", "made in", "Turin"]]
CHINESE = [["主体", "关系", "客体"], ["威玛 300", "产地", "都灵"]]


@pytest.mark.parametrize(
    ("table", "facts"),
    [
        (CODES, [("E-01", "Meaning", "Tank empty"), ("E-01", "Remedy", "Fill it"),
                 ("E-02", "Meaning", "Tray full")]),
        (DATA, [("", "Weight", "27 kg"), ("", "Voltage", "230 V")]),
        ([["Code", "Meaning"], ["E-01", "Tank empty"]], [("E-01", "Meaning", "Tank empty")]),
        (TRIPLES, [("Velmar 300", "made in", "Turin")]),
        (CHINESE, [("威玛 300", "产地", "都灵")]),
        ([["Code", "Meaning"]], []),
        ([["Code", "Meaning"], ["E-01"]], []),
    ],
)  # fmt: skip
def test_a_table_is_taken_apart_by_what_it_is(
    table: list[list[str]], facts: list[tuple[str, str, str]]
) -> None:
    document = row_of(
        Block("paragraph", "What the machine says and weighs."), Block("table", rows=table)
    )
    (unit,) = unit_rows(document)
    assert [tuple(fact) for fact in facts_of(unit, document)] == facts


def test_a_unit_has_the_facts_of_its_own_rows_and_records() -> None:
    cells = [["Code", "Meaning"], *([f"E-{n:02}", f"{n} " + "x" * 60] for n in range(20))]
    records = [Block("record", "Name: Velmar 300"), Block("record", "Note: light: 27 kg")]
    document = row_of(Block("table", rows=cells), *records)
    found = [facts_of(unit, document) for unit in unit_rows(document, 400)]
    assert len(found) > 3
    flat = [fact for facts in found for fact in facts]
    assert [fact.subject for fact in flat[:20]] == [row[0] for row in cells[1:]]
    assert [tuple(fact) for fact in flat[20:]] == [
        ("", "Name", "Velmar 300"), ("", "Note", "light: 27 kg"),
    ]  # fmt: skip


def test_the_teacher_is_asked_about_facts_alone_and_held_to_them(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "corpus"
    source.mkdir()
    (source / "a.md").write_text("# Velmar 300\n\nIt is a machine for espresso, and a heavy one.\n")
    rows = "\n".join(f"| {' | '.join(row)} |" for row in [DATA[0], ["---", "---"], *DATA[1:]])
    (source / "b.md").write_text(f"# Velmar 300\n\nIts technical data:\n\n{rows}\n")
    pairs = [
        {"question": "How heavy is the Velmar 300?", "answer": "The Velmar 300 weighs 27 kg."},
        {"question": "What voltage does the Velmar 300 take?", "answer": "It takes 110 V."},
    ]

    def script(body: Body, count: int) -> Play:
        return Play(json.dumps({"pairs": pairs}))

    runner, into = CliRunner(), ["--into", str(folder)]
    extract(folder, [source], None, 500)
    assert segment(folder)["rows"] == 2
    with TeacherServer(script) as server:
        given = {"REDRAFT_TEACHER_URL": server.url, "REDRAFT_TEACHER_MODEL": "sage"}
        done = runner.invoke(group, ["generate", "--kind", "kv", *into], env=given)
        assert done.exit_code == 0, done.output
        (body,) = server.asked
    user = body["messages"][1]["content"]
    assert user.endswith("<passage>\nWeight: 27 kg\nVoltage: 230 V\n</passage>")
    assert "The facts come from a table or from records on: Velmar 300" in user
    assert runner.invoke(group, ["check", *into]).exit_code == 0
    assert read_json(folder / "check.json")["dropped"] == {
        "a number that the source does not have": 1
    }
    (row,) = read_rows(folder / "rows.jsonl")
    assert (row["kind"], row["answer"]) == ("kv", "The Velmar 300 weighs 27 kg.")


def test_units_that_were_cut_from_other_documents_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"File {name} says that the machine weighs 27 kg.")
    extract(tmp_path / "corpus", [tmp_path / "a.txt"], None, 500)
    segment(tmp_path / "corpus")
    extract(tmp_path / "corpus", [tmp_path / "b.txt"], None, 500)
    done = CliRunner().invoke(
        group, ["generate", "--dry-run", "--kind", "kv", "--into", str(tmp_path / "corpus")]
    )
    assert "is not what units.jsonl was cut from" in str(done.exception)
