"""Units: what they hold is in the source, all of the source is in them, cuts are where they may."""

import json
from pathlib import Path
from typing import Any

import corpus_known as known
import pytest
from hypothesis import given, settings, strategies as st

from retrain.corpus.document import Block, Document
from retrain.corpus.extract import extract
from retrain.corpus.segment import NOTHING, check_unit, segment, size, unit_rows
from retrain.corpus.sentences import sentences
from retrain.corpus.stage import CorpusError
from retrain.manifest import read_rows

FILES = Path(__file__).parent / "corpus"
WORDS = st.text("ab .。！？x1|\n漢字é", min_size=1, max_size=300)
BLOCKS = st.lists(
    st.one_of(
        st.builds(Block, st.sampled_from(["paragraph", "code", "list", "turn", "record"]), WORDS),
        st.builds(Block, st.just("heading"), st.text("hH ", max_size=20), st.integers(1, 3)),
        st.builds(
            Block,
            st.just("table"),
            rows=st.lists(st.lists(WORDS, min_size=1, max_size=3), max_size=9),
        ),
    ),
    max_size=8,
)


def row_of(*blocks: Block) -> dict[str, Any]:
    row = Document(blocks).as_row("source.txt", "text")
    assert row is not None
    return row


def said(text: str) -> str:
    return "".join(text.split())


@given(blocks=BLOCKS, longest=st.integers(30, 400))
@settings(deadline=None, max_examples=150)
def test_units_hold_all_that_the_source_says_and_nothing_else(
    blocks: list[Block], longest: int
) -> None:
    document = Document(blocks).as_row("source.txt", "text")
    if document is None:
        return
    text, held = document["text"], set[int]()
    for unit in unit_rows(document, longest):
        check_unit(unit, document)
        assert size(unit["content"]) >= NOTHING
        for start, end in unit["spans"]:
            held |= set(range(start, end))
    # Only scraps are left out, lines that are too little to ask about.
    left = "".join(c if i not in held else "\n" for i, c in enumerate(text))
    assert all(size(scrap.strip()) < NOTHING for scrap in left.split("\n"))


def test_a_manual_is_cut_at_its_headings(tmp_path: Path) -> None:
    extract(tmp_path, [FILES / "manual.pdf"], None, 500)
    segment(tmp_path, 800)
    found = read_rows(tmp_path / "units.jsonl")
    themes = [unit["theme"].rpartition(" > ")[2] for unit in found]
    assert themes == [what for kind, what in known.MANUAL if kind in "12"]
    assert [unit["page"] for unit in found] == [1, 1, 1, 1, 1, 1]
    (document,) = read_rows(tmp_path / "documents.jsonl")
    assert said("".join(unit["content"] for unit in found)) == said(document["text"])


def test_a_part_of_a_table_has_the_header() -> None:
    cells = [["Code", "Meaning"], *([f"E-{i:02}", "x" * 60] for i in range(20))]
    document = row_of(Block("table", rows=cells))
    found = list(unit_rows(document, 400))
    assert len(found) == 4
    assert all(unit["content"].startswith("Code | Meaning\nE-") for unit in found)
    rows = [line for unit in found for line in unit["content"].split("\n")[1:]]
    assert rows == [" | ".join(row) for row in cells[1:]]
    assert all(size(unit["content"]) <= 400 for unit in found)


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = "Dr. Hill checks No. 5 at 3.30 p.m. every day. " * 20
    found = list(unit_rows(row_of(Block("paragraph", text)), 300))
    assert len(found) > 2
    assert all(unit["content"].endswith("every day.") for unit in found)
    chinese = "每天擦拭蒸汽棒，并空喷三秒。切勿使用含氯的清洁剂！" * 20
    units = list(unit_rows(row_of(Block("paragraph", chinese)), 300))
    assert all(unit["content"][-1] in "。！" and size(unit["content"]) <= 300 for unit in units)
    assert "".join(unit["content"] for unit in units) == chinese


def test_sentences_end_where_a_reader_ends_them() -> None:
    text = "He said “Stop!” Then 3.5 l ran out, e.g. from Fig. 2. 它多高？三米。Fine…"
    assert [text[a:b] for a, b in sentences(text)] == [
        "He said “Stop!”",
        "Then 3.5 l ran out, e.g. from Fig. 2.",
        "它多高？",
        "三米。",
        "Fine…",
    ]


def test_short_sections_are_put_together_under_their_heading() -> None:
    document = row_of(
        Block("heading", "Errors", level=1),
        Block("heading", "E-01", level=2),
        Block("paragraph", "The tank is empty."),
        Block("heading", "E-02", level=2),
        Block("paragraph", "The tray is full."),
        Block("heading", "Warranty", level=1),
        Block("paragraph", "It is 24 months for parts and labour."),
    )
    assert [(unit["theme"], unit["content"].split("\n")[-1]) for unit in unit_rows(document)] == [
        ("Errors", "The tray is full."),
        ("Warranty", "It is 24 months for parts and labour."),
    ]


def test_a_unit_that_the_source_does_not_say_is_refused() -> None:
    document = row_of(Block("paragraph", "The warranty is 24 months for all parts."))
    (unit,) = unit_rows(document)
    with pytest.raises(CorpusError, match="says what source.txt does not say"):
        check_unit({**unit, "content": unit["content"].replace("24", "36")}, document)


def test_segmenting_needs_documents_and_is_done_once(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="Stage extract is not done"):
        segment(tmp_path)
    extract(tmp_path, [FILES / "manual.docx"], None, 500)
    first = segment(tmp_path)
    written = (tmp_path / "units.jsonl").stat().st_mtime_ns
    assert segment(tmp_path) == first
    assert (tmp_path / "units.jsonl").stat().st_mtime_ns == written
    again = segment(tmp_path, 500)
    assert again["rows"] > first["rows"]
    assert json.loads((tmp_path / "segment.json").read_text())["rows"] == again["rows"]
