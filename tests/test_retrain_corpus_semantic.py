"""Units by the teacher: only what is really in the source, and the structure for all the rest."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings, strategies as st
from teacher_server import Body, Play, Script, TeacherServer
from test_retrain_corpus_segment import BLOCKS, row_of

from retrain.corpus import semantic, teacher as teachers
from retrain.corpus.asking import Answer
from retrain.corpus.commands import group
from retrain.corpus.document import Block, Document
from retrain.corpus.extract import extract
from retrain.corpus.placing import rows, where
from retrain.corpus.segment import NOTHING, check_unit, segment, size
from retrain.corpus.semantic import Cutting, windows
from retrain.corpus.stage import Note
from retrain.manifest import read_json, read_rows

CLEANING = "Wipe the steam wand with a damp cloth after each use. Let steam out for 3 seconds."
DESCALING = "Descale the machine every 3 months. Dissolve 120 g of citric acid in 1.5 l of water."
WARRANTY = "The warranty is 24 months. It does not cover seals, which wear out."
MANUAL = f"# Velmar 300\n\n{CLEANING} {DESCALING}\n\n{WARRANTY}\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "BACKOFF", 0.001)


def corpus(folder: Path, *texts: str) -> Path:
    source = folder / "source"
    source.mkdir()
    for n, text in enumerate(texts):
        (source / f"{n:03}.md").write_text(text)
    extract(folder / "corpus", [source], None, 500)
    return folder / "corpus"


def run(folder: Path, url: str, *arguments: str, **more: object) -> Result:
    given = {"teacher_url": url, "teacher_model": "sage", **more}
    environment = {f"REDRAFT_{name.upper()}": str(value) for name, value in given.items()}
    command = ["segment", "--teacher", "--into", str(folder), *arguments]
    return CliRunner(env=environment).invoke(group, command)


def shown(body: Body) -> str:
    """The window that the teacher was shown."""
    user: str = body["messages"][1]["content"]
    return user.rpartition("<passage>\n")[2].partition("\n</passage>")[0]


def units(*told: tuple[str, str]) -> str:
    return json.dumps({"units": [{"theme": theme, "content": said} for theme, said in told]})


def always(text: str) -> Script:
    return lambda body, count: Play(text)


def cut(folder: Path, said: str, *arguments: str) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """The units of the manual, and what was counted, when the teacher says that."""
    with TeacherServer(always(said)) as server:
        done = run(folder, server.url, *arguments)
    assert done.exit_code == 0, done.output
    (document,) = read_rows(folder / "documents.jsonl")
    found = read_rows(folder / "units.jsonl")
    for unit in found:
        check_unit(unit, document)
    notes: dict[str, int] = read_json(folder / "segment.json")["notes"]
    return [(unit["theme"], unit["content"]) for unit in found], notes


def test_the_teacher_cuts_a_paragraph_by_its_themes(tmp_path: Path) -> None:
    broken = CLEANING.replace(" ", "\n", 3)  # a copy keeps no line ends
    said = units(("Steam wand", broken), ("Scale", DESCALING), ("Warranty", WARRANTY))
    found, notes = cut(corpus(tmp_path, MANUAL), said)
    assert found == [("Steam wand", CLEANING), ("Scale", DESCALING), ("Warranty", WARRANTY)]
    assert notes == {"whole": 1, "unit by the teacher": 3}


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (units(("Scale", DESCALING.replace("120", "150"))), {"whole": 1, "not in the source": 1}),
        (units(("Scale", f"Note: {DESCALING}")), {"whole": 1, "not in the source": 1}),
        (units(("Model", "Velmar 300")), {"whole": 1, "too short": 1}),
        ("I'm sorry, I can't do that.", {"refused": 1}),
        ("The text is about a machine.", {"malformed": 2}),
        ('{"units": [{"theme": "Scale"}]}', {"malformed": 2, "unit without a text": 2}),
        ('{"units": []}', {"whole": 1}),
        ("", {"empty": 2}),
    ],
)  # fmt: skip
def test_what_it_gets_wrong_is_cut_by_structure(
    said: str, counted: dict[str, int], tmp_path: Path
) -> None:
    folder = corpus(tmp_path, MANUAL)
    found, notes = cut(folder, said)
    segment(folder)
    plain = [(unit["theme"], unit["content"]) for unit in read_rows(folder / "units.jsonl")]
    assert found == plain
    assert notes == {**counted, "unit by structure": len(plain)}


def test_one_wrong_unit_leaves_the_others(tmp_path: Path) -> None:
    said = units(("Wand", CLEANING), ("Scale", f"{DESCALING} Or so."), ("Warranty", WARRANTY))
    found, notes = cut(corpus(tmp_path, MANUAL), said)
    assert found == [("Wand", CLEANING), ("Velmar 300", DESCALING), ("Warranty", WARRANTY)]
    assert notes["not in the source"] == notes["unit by structure"] == 1


def test_an_answer_that_breaks_off_or_is_malformed_gives_what_is_whole(tmp_path: Path) -> None:
    said = units(("Wand", CLEANING), ("Scale", DESCALING), ("Warranty", WARRANTY))
    with TeacherServer(lambda body, count: Play(said[:-40], finish="length")) as server:
        folder = corpus(tmp_path, MANUAL)
        assert run(folder, server.url).exit_code == 0
    found = [(unit["theme"], unit["content"]) for unit in read_rows(folder / "units.jsonl")]
    assert found == [("Wand", CLEANING), ("Scale", DESCALING), ("Velmar 300", WARRANTY)]


def test_units_that_overlap_are_set_apart_and_said_twice_count_once(tmp_path: Path) -> None:
    both = f"{CLEANING} {DESCALING}"
    said = units(("Wand", CLEANING), ("Both", both), ("Wand again", CLEANING), ("W", WARRANTY))
    found, notes = cut(corpus(tmp_path, MANUAL), said)
    assert found == [("Both", both), ("W", WARRANTY)]
    assert notes["said twice"] == 2
    twist = units(("Wand", CLEANING), ("Rest", f"{CLEANING[-20:]} {DESCALING}"))
    (tmp_path / "other").mkdir()
    found, _ = cut(corpus(tmp_path / "other", MANUAL), twist)
    assert found[:2] == [("Wand", CLEANING), ("Rest", DESCALING)]


def test_themes_can_be_set(tmp_path: Path) -> None:
    folder = corpus(tmp_path, MANUAL)
    told = units(("care", CLEANING), ("Scale", DESCALING), ("Law", WARRANTY))
    with TeacherServer(always(told)) as server:
        assert run(folder, server.url, "--theme", "Care", "--theme", "Law").exit_code == 0
        (body,) = server.asked
    assert "one of these, as written here: Care; Law" in body["messages"][1]["content"]
    schema = body["response_format"]["json_schema"]["schema"]["properties"]["units"]["items"]
    assert schema["properties"]["theme"]["enum"] == ["Care", "Law", "other"]
    themes = [unit["theme"] for unit in read_rows(folder / "units.jsonl")]
    assert themes == ["Care", "other", "Law"]


def test_a_table_is_taken_whole_or_not_at_all() -> None:
    cells = [["Code", "Meaning"], ["E-01", "The tank is empty, fill it"], ["E-02", "Call service"]]
    document = row_of(Block("paragraph", WARRANTY), Block("table", rows=cells))
    table = document["text"][len(WARRANTY) :].strip()
    part = {"theme": "t", "content": f"{WARRANTY}\n{table[:40]}"}
    whole = {"theme": "t", "content": f"{WARRANTY}\n{table}"}
    for item, by in ((part, "unit by structure"), (whole, "unit by the teacher")):
        found = list(rows(document, [((0, len(document["text"])), Answer([item], ()))]))
        assert Note(by) in found and (Note("cuts a table") in found) is (item is part)
    long = row_of(Block("table", rows=[*cells, *[[f"E-{n}", "x" * 50] for n in range(60)]]))
    assert list(windows(long)) == []


def test_long_documents_are_shown_in_windows_that_overlap(tmp_path: Path) -> None:
    said = [
        f"Step {n}: turn valve {n} until the gauge shows {n} bar, then wait." for n in range(150)
    ]
    folder = corpus(tmp_path, " ".join(said))

    def five_steps_a_unit(body: Body, count: int) -> Play:
        whole = [line for line in said if line in shown(body)]
        groups: dict[int, list[str]] = {}
        for line in whole:
            groups.setdefault(said.index(line) // 5, []).append(line)
        return Play(units(*((f"Group {n}", " ".join(g)) for n, g in groups.items())))

    with TeacherServer(five_steps_a_unit) as server:
        assert run(folder, server.url, teacher_concurrency=1).exit_code == 0
        seen = [shown(body) for body in server.asked]
    assert len(seen) == 3 and all(size(window) <= semantic.WINDOW for window in seen)
    for one, other in zip(seen, seen[1:], strict=False):
        assert other[:300] in one
    found = read_rows(folder / "units.jsonl")
    assert [unit["theme"] for unit in found] == [f"Group {n}" for n in range(30)]
    assert " ".join(unit["content"] for unit in found) == " ".join(said)


@given(
    blocks=BLOCKS,
    longest=st.integers(30, 400),
    draw=st.data(),
)
@settings(deadline=None, max_examples=100)
def test_whatever_the_teacher_says_units_are_the_source(
    blocks: list[Block], longest: int, draw: Any
) -> None:
    document = Document(blocks).as_row("source.txt", "text")
    if document is None:
        return
    text, told = document["text"], []
    shown = list(windows(document, longest)) or [(0, len(text))]
    for window in shown:
        ends = [sorted(draw.draw(st.tuples(*[st.integers(*window)] * 2))) for _ in range(3)]
        said = [re.sub(r"\s+", " ", text[a:b]) for a, b in ends] + ["Invented by the teacher."]
        told.append((window, Answer([{"theme": "t", "content": one} for one in said], ())))
    held = set[int]()
    for unit in (one for one in rows(document, told, longest) if isinstance(one, dict)):
        check_unit(unit, document)
        assert size(unit["content"]) >= NOTHING
        assert unit["theme"] != "t" or size(unit["content"]) <= longest
        for start, end in unit["spans"]:
            held |= set(range(start, end))
    for block in document["blocks"]:
        if block["kind"] == "heading":
            held |= set(range(block["start"], block["end"]))
    left = "".join(c if i not in held else "\n" for i, c in enumerate(text))
    assert all(size(scrap.strip()) < NOTHING for scrap in left.split("\n"))


def test_white_space_alone_makes_no_difference() -> None:
    text = "The  warranty\nis 24 months.每天\n擦拭。"
    assert where(text, (0, len(text)), "The warranty is 24 months.") == (0, 27)
    assert where(text, (0, len(text)), "每天擦拭。") == (27, 33)
    assert where(text, (5, len(text)), "The warranty") is None
    assert where(text, (0, len(text)), "The warranty is 36 months.") is None
    assert where(text, (0, len(text)), " ") is None


def test_it_stops_at_the_budget_and_goes_on_without_paying_twice(tmp_path: Path) -> None:
    texts = [MANUAL.replace("300", str(n)) for n in range(300, 330)]
    folder = corpus(tmp_path, *texts)
    with TeacherServer(always(units(("Wand", CLEANING)))) as server:
        dry = run(folder, server.url, "--dry-run")
        assert "30 requests to sage" in dry.output and server.asked == []
        done = run(folder, server.url, teacher_budget_tokens=12_000)
        assert done.exit_code == 4 and "same command goes on" in done.stderr
        first = len(server.asked)
        assert 0 < first < 30 and server.total <= 12_000
        assert not (folder / "units.jsonl").exists()
        assert run(folder, server.url).exit_code == 0
        assert len(server.asked) == 30
        assert run(folder, server.url).exit_code == 0
        assert len(server.asked) == 30
    assert sum(unit["theme"] == "Wand" for unit in read_rows(folder / "units.jsonl")) == 30


def test_options_that_need_the_teacher_say_so(tmp_path: Path) -> None:
    for option in (["--theme", "Care"], ["--dry-run"]):
        done = CliRunner().invoke(group, ["segment", "--into", str(tmp_path), *option])
        assert done.exit_code == 2 and "--teacher" in done.stderr
    chinese = row_of(
        Block("paragraph", "每天营业结束后，请用湿布擦拭蒸汽棒，并空喷蒸汽三秒钟。" * 9)
    )
    (task,) = Cutting().tasks([chinese])
    assert task.request().messages[0]["content"].startswith("你是为知识库整理文本的编辑")
