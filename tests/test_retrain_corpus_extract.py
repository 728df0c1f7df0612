"""Extraction, compared with the known text of files that other programs wrote."""

import csv
import json
import os
import random
import sqlite3
import zipfile
from difflib import SequenceMatcher
from html import escape
from pathlib import Path
from typing import Any

import corpus_known as known
import pytest
from click.testing import CliRunner

from retrain.corpus import readers
from retrain.corpus.commands import group
from retrain.corpus.extract import extract
from retrain.corpus.query import Query
from retrain.corpus.stage import CorpusError
from retrain.manifest import read_rows

FILES = Path(__file__).parent / "corpus"
Row = dict[str, Any]


def read(folder: Path, *paths: Path, query: Query | None = None, max_mb: float = 500) -> list[Row]:
    extract(folder, paths, query, max_mb)
    return read_rows(folder / "documents.jsonl")


def troubles(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "extract.json").read_text())["troubles"]
    return found


def block_texts(row: Row, *kinds: str) -> list[str]:
    return [row["text"][b["start"] : b["end"]] for b in row["blocks"] if b["kind"] in kinds]


def character_error(found: str, expected: str) -> float:
    """Edits per character of the expected text, white space aside (an upper bound: difflib's)."""
    one, other = ("".join(text.split()) for text in (found, expected))
    same = sum(
        m.size for m in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    )
    return (max(len(one), len(other)) - same) / len(other)


def prose(row: Row) -> str:
    said = block_texts(row, "heading", "paragraph", "list", "code")
    return "\n".join(text.removeprefix("- ") for text in said)


@pytest.mark.parametrize("name", ["manual.pdf", "manual.docx", "manual.mhtml"])
def test_the_text_of_a_manual_is_what_was_written(name: str, tmp_path: Path) -> None:
    (row,) = read(tmp_path, FILES / name)
    assert character_error(prose(row), known.prose()) < 0.01
    tables = [b["rows"] for b in row["blocks"] if b["kind"] == "table"]
    assert tables == known.tables()
    headings = [what for kind, what in known.MANUAL if kind in "12"]
    assert block_texts(row, "heading") == [known.TITLE, *headings]
    assert [text for text in block_texts(row, "list")] == [
        f"- {item}" for kind, what in known.MANUAL if kind == "list" for item in what
    ]
    assert troubles(tmp_path) == []


@pytest.mark.parametrize("name", ["manual.pdf", "manual.docx", "manual.mhtml", "stock.xlsx"])
def test_every_block_is_where_it_says(name: str, tmp_path: Path) -> None:
    (row,) = read(tmp_path, FILES / name)
    at = 0
    for block in row["blocks"]:
        assert row["text"][at : block["start"]].strip() == ""
        assert row["text"][block["start"] : block["end"]].strip()
        at = block["end"]
    assert at == len(row["text"])


def test_pages_are_named_and_running_lines_left_out(tmp_path: Path) -> None:
    (row,) = read(tmp_path, FILES / "manual.pdf")
    assert row["pages"] == 2
    assert {b["page"] for b in row["blocks"]} == {1, 2}
    assert "confidential" not in row["text"] and "Page 1 of 2" not in row["text"]


@pytest.mark.parametrize("name", ["stock.xlsx", "stock.xls"])
def test_a_sheet_stays_a_table_cell_by_cell(name: str, tmp_path: Path) -> None:
    (row,) = read(tmp_path, FILES / name)
    assert [b["rows"] for b in row["blocks"] if b["kind"] == "table"] == [known.STOCK]


def test_navigation_and_advertising_are_left_out(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for number, (_, what) in enumerate(known.MANUAL[1:3]):
        page = known.PAGE.format(content=f"<h1>Page {number}</h1><p>{escape(what)}</p>")
        (site / f"page{number}.html").write_text(page)
    (site / "style.css").write_text("nav { color: red }")
    rows = [*read(tmp_path / "a", site), *read(tmp_path / "b", FILES / "manual.mhtml")]
    assert len(rows) == 3
    for row in rows:
        assert not [noise for noise in known.NOISE if noise in row["text"]]
    assert prose(rows[0]) == f"Page 0\n{known.MANUAL[1][1]}"


def test_pages_of_medquad_say_what_medquad_says(tmp_path: Path) -> None:
    site, asked = tmp_path / "site", []
    site.mkdir()
    for number, row in enumerate(read_rows(FILES / "medquad.jsonl")):
        asked.append(f"{row['question']}\n{row['answer']}")
        content = f"<h1>{escape(row['question'])}</h1><p>{escape(row['answer'])}</p>"
        (site / f"{number:03}.html").write_text(known.PAGE.format(content=content))
    found = read(tmp_path / "out", site)
    assert len(found) == 300
    errors = [character_error(prose(r), said) for r, said in zip(found, asked, strict=True)]
    assert max(errors) < 0.01


def test_dialogues_keep_who_says_what(tmp_path: Path) -> None:
    lines = (FILES / "kdconv.jsonl").read_text().splitlines()
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join([*lines, '{"messages": [']))
    rows = read(tmp_path / "out", log)
    assert len(rows) == 50
    for row, line in zip(rows, lines, strict=True):
        messages = json.loads(line)["messages"]
        assert [b["speaker"] for b in row["blocks"]] == [m["role"] for m in messages]
        said = [f"{m['role']}: {m['content'].strip()}" for m in messages]
        assert character_error("".join(block_texts(row, "turn")), "".join(said)) < 0.01
    assert "line 51 is not JSON" in troubles(tmp_path / "out")[0]


@pytest.mark.parametrize(
    "value",
    [
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        [{"role": "human", "content": "Hi"}, {"role": "gpt", "content": [{"text": "Hello"}]}],
        {"title": "t", "messages": [{"sender": "human", "text": "Hi"},
                                    {"author": {"name": "gpt"}, "text": "Hello"}]},
    ],
)  # fmt: skip
def test_chat_logs_of_many_forms_say_the_same(value: object, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    log.write_text(json.dumps(value))
    (row,) = read(tmp_path / "out", log)
    assert row["text"] == "human: Hi\n\ngpt: Hello"


def test_a_query_gives_a_document_a_row(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tickets.db") as base:
        base.execute("CREATE TABLE tickets (id INTEGER, subject TEXT, reply TEXT)")
        rows = [(i, f"Ticket {i}", None if i == 3 else f"回复 {i}") for i in range(1, 1204)]
        base.executemany("INSERT INTO tickets VALUES (?, ?, ?)", rows)
    url = f"sqlite:///{tmp_path / 'tickets.db'}"
    found = read(tmp_path / "out", query=Query(url, "SELECT * FROM tickets ORDER BY id"))
    assert len(found) == 1203
    assert found[1]["text"] == "id: 2\n\nsubject: Ticket 2\n\nreply: 回复 2"
    assert found[2]["text"] == "id: 3\n\nsubject: Ticket 3"
    assert (found[2]["source"], found[2]["part"]) == (url, "row 3")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM t WHERE a = 2", "returned no row"),
        ("SELECT * FROM missing", "no such table: missing"),
        ("DELETE FROM t", "write a SELECT"),
    ],
)
def test_a_query_that_gives_nothing_says_why(sql: str, said: str, tmp_path: Path) -> None:
    base = tmp_path / "base.db"
    with sqlite3.connect(base) as made:
        made.execute("CREATE TABLE t (a)")
        made.execute("INSERT INTO t VALUES (1)")
    assert read(tmp_path / "out", query=Query(f"sqlite:///{base}", sql)) == []
    assert said in troubles(tmp_path / "out")[0]
    with sqlite3.connect(base) as kept:
        assert kept.execute("SELECT a FROM t").fetchall() == [(1,)]


def test_the_password_of_a_database_is_written_nowhere(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no URL of a database"):
        read(tmp_path, query=Query("tickets.db", "SELECT 1"))
    read(tmp_path, query=Query("postgresql+psycopg://u:s3cret@127.0.0.1:1/x", "SELECT 1"))
    assert "127.0.0.1" in troubles(tmp_path)[0]
    assert not [path for path in tmp_path.iterdir() if "s3cret" in path.read_text()]


TABLES = [
    ("gb18030", "名称,说明\n咖啡机,2900 瓦；好\n", ["名称", "说明", "咖啡机", "2900 瓦；好"]),
    ("gbk", "问题;回答\n怎么除垢？;用柠檬酸。\n", ["问题", "回答", "怎么除垢？", "用柠檬酸。"]),
    ("utf-16", "名称\t说明\n咖啡机\t双锅炉\n", ["名称", "说明", "咖啡机", "双锅炉"]),
    ("cp1252", "Name;Größe\nMühle;zwölf – genügt\n", ["Name", "Größe", "Mühle", "zwölf – genügt"]),
    ("utf-8-sig", "Name,Größe\nMühle,zwölf\n", ["Name", "Größe", "Mühle", "zwölf"]),
]  # fmt: skip


@pytest.mark.parametrize(("encoding", "text", "cells"), TABLES)
def test_a_table_in_any_encoding(
    encoding: str, text: str, cells: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(text.encode(encoding))
    (row,) = read(tmp_path / "out", table)
    assert [cell for line in row["blocks"][0]["rows"] for cell in line] == cells


def test_quotes_and_line_ends_inside_cells_are_kept(tmp_path: Path) -> None:
    cells = [["a", "b"], ['6" wide, "so-called"', "two\nlines\u2028and more"], ["c, d", "e; f"]]
    table = tmp_path / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(cells)
    (row,) = read(tmp_path / "out", table)
    assert [[c.replace("\u2028", "\n") for c in line] for line in row["blocks"][0]["rows"]] == [
        [c.replace("\u2028", "\n") for c in line] for line in cells
    ]


def test_a_long_table_is_cut_into_parts_that_repeat_its_header(tmp_path: Path) -> None:
    table = tmp_path / "long.csv"
    table.write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(1, 502)))
    rows = read(tmp_path / "out", table)
    assert [row["part"] for row in rows] == ["rows 1-200", "rows 201-400", "rows 401-501"]
    cells = [row["blocks"][0]["rows"] for row in rows]
    assert all(one[0] == ["a", "b"] for one in cells)
    assert [line for one in cells for line in one[1:]] == [
        [str(i), str(i * i)] for i in range(1, 502)
    ]


def test_markdown_keeps_code_and_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    code = 'if x < 1:\n    print("#;,")'
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    page.write_text(f"# A\n\nSome *text*, `a[0]`!\n\n{table}\n\n```python\n{code}\n```\n")
    (row,) = read(tmp_path / "out", page)
    assert block_texts(row, "code") == [code]
    assert block_texts(row, "paragraph") == ["Some *text*, `a[0]`!"]
    assert [b["rows"] for b in row["blocks"] if b["kind"] == "table"] == [[["a", "b"], ["1", "2"]]]


def test_damaged_encodings_are_mended(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("Das CafÃ© hat schÃ¶ne StÃ¼hle.")
    (row,) = read(tmp_path / "out", text)
    assert row["text"] == "Das Café hat schöne Stühle."


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("word/document.xml", "w") as member:
            for _ in range(300):
                member.write(b" " * 1_000_000)


def folder_of_bad_files(folder: Path) -> dict[str, str]:
    """What each of the files has to be called."""
    folder.mkdir()
    for name in ("locked.pdf", "scan.pdf", "half-scan.pdf"):
        (folder / name).write_bytes((FILES / name).read_bytes())
    bomb(folder / "bomb.docx")
    (folder / "torn.docx").write_bytes((FILES / "manual.docx").read_bytes()[:5000])
    (folder / "torn.pdf").write_bytes((FILES / "manual.pdf").read_bytes()[:3000])
    (folder / "torn.xlsx").write_bytes(b"no archive")
    (folder / "locked.xlsx").write_bytes((FILES / "stock.xls").read_bytes())
    (folder / "loop").symlink_to(".")
    (folder / "self.txt").symlink_to("self.txt")
    with (folder / "large.txt").open("wb") as large:
        large.truncate(2_100_000_000)
    (folder / "empty.html").write_text("")
    (folder / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / "picture.txt").write_bytes(b"\x00\x01\x02" * 100)
    (folder / "bad.json").write_text('{"a": ')
    (folder / "good.txt").write_text("All is well.")
    return {
        "locked.pdf": "it is encrypted and opens with a password only. Decrypt it",
        "scan.pdf": "page 1 is a picture without text (a scan). Recognise the text",
        "half-scan.pdf": "page 3 is a picture",
        "bomb.docx": "unpack to 300,000,000: a ZIP bomb",
        "torn.docx": "it is damaged",
        "torn.pdf": "damaged",
        "torn.xlsx": "it is damaged (File is not a zip file)",
        "locked.xlsx": "it is encrypted, or in Excel's form of before 2007",
        "loop": "a folder that it is in (a loop)",
        "self.txt": "a link that leads nowhere, or to itself",
        "large.txt": "it has 2,100 MB, more than the 500 that are read. Split it, or raise",
        "empty.html": "it is empty",
        "old.doc": ".doc is not read here. Save it as .docx",
        "picture.txt": "it is no text",
        "bad.json": "it is not JSON",
    }


def test_what_cannot_be_read_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    expected = folder_of_bad_files(source)
    done = CliRunner().invoke(group, ["extract", str(source), "--into", str(out)])
    assert done.exit_code == 3, done.output
    found = troubles(out)
    for name, said in expected.items():
        (trouble,) = [one for one in found if one.startswith(f"{source}/{name}:")]
        assert said in trouble
        assert trouble in done.stderr
    assert len(found) == len(expected)
    rows = read_rows(out / "documents.jsonl")
    assert [os.path.basename(row["source"]) for row in rows] == ["good.txt", "half-scan.pdf"]
    assert "2 rows of 13 inputs, 15 troubles" in done.stdout


def test_a_folder_with_nothing_to_read_is_an_error_that_says_what_is(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(
        CorpusError, match=r"nothing to read in .* \(1 \.png\)\. Files that are read"
    ):
        extract(tmp_path / "out", [tmp_path], None, 500)
    extract(tmp_path / "out", [tmp_path / "missing"], None, 500)
    assert "there is no such file" in troubles(tmp_path / "out")[0]


def test_a_killed_extraction_goes_on_after_its_last_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for name in "abcd":
        (source / f"{name}.txt").write_text(f"This is {name}.")
    whole = read(tmp_path / "whole", source)
    text, opened = readers.reader("text"), list[str]()

    def read_until(end: str) -> None:
        def one(path: Path) -> Any:
            if path.stem == end:
                raise KeyboardInterrupt
            opened.append(path.stem)
            return real(path)

        monkeypatch.setattr(text, "read", one)

    real = text.read
    read_until("c")
    with pytest.raises(KeyboardInterrupt):
        extract(out, [source], None, 500)
    assert not (out / "documents.jsonl").exists() and not (out / "extract.json").exists()
    with (out / "documents.jsonl.part").open("a") as part:
        part.write('{"id": "torn')
    with (out / "extract.log.jsonl").open("a") as log:
        log.write('{"key": "torn')
    read_until("")
    assert read(out, source) == whole
    assert opened == ["a", "b", "c", "d"]
    extract(out, [source], None, 500)
    assert opened == ["a", "b", "c", "d"]  # done: nothing to do
    (source / "a.txt").write_text("This is another.")
    assert [row["text"] for row in read(out, source)][:2] == ["This is another.", "This is b."]


@pytest.mark.parametrize(
    "name", ["manual.pdf", "manual.docx", "manual.mhtml", "stock.xlsx", "stock.xls"]
)
def test_no_damage_to_a_file_ends_the_others(name: str, tmp_path: Path) -> None:
    source, data = tmp_path / "source", (FILES / name).read_bytes()
    source.mkdir()
    draw = random.Random(7)
    for number in range(12):
        hurt = bytearray(data[: draw.randrange(len(data))] if number % 2 else data)
        for _ in range(20):
            if hurt:
                hurt[draw.randrange(len(hurt))] = draw.randrange(256)
        (source / f"{number:02}{Path(name).suffix}").write_bytes(hurt)
    (source / "good.txt").write_text("All is well.")
    rows = read(tmp_path / "out", source)
    assert rows[-1]["text"] == "All is well."
    assert len(rows) + len(troubles(tmp_path / "out")) >= 13


def test_halves_of_characters_do_not_end_the_work(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"text": "a \\ud800 b"}\n')
    (row,) = read(tmp_path / "out", log)
    assert row["text"] == "text: a ? b"


def test_a_corpus_inside_its_source_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("All is well.")
    out = tmp_path / "corpus"
    assert len(read(out, tmp_path)) == len(read(out, tmp_path)) == 1


@pytest.mark.parametrize("name", readers.names())
def test_each_reader_says_what_it_reads(name: str) -> None:
    reader = readers.reader(name)
    assert reader.SUFFIXES and all(s.startswith(".") and s == s.lower() for s in reader.SUFFIXES)
    assert reader.__doc__
    assert all(readers.suffixes()[suffix] == name for suffix in reader.SUFFIXES)
