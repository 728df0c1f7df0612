"""Markdown by markdown-it, and plain text: a script, or what an empty line parts as paragraphs."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from retrain.corpus.document import Block, Document
from retrain.corpus.readers._encoding import decoded
from retrain.corpus.readers._script import turns
from retrain.corpus.stage import Trouble

SUFFIXES = (".md", ".markdown", ".txt", ".text", ".rst", ".log")
MARKDOWN = (".md", ".markdown")
SCRIPTS = (".txt", ".text")
BLANK = re.compile(r"\n[ \t]*\n+")
FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def read(path: Path) -> Iterator[Document | Trouble]:
    text = decoded(path)
    suffix = path.suffix.lower()
    script = turns(text) if suffix in SCRIPTS else None
    blocks = _markdown(text) if suffix in MARKDOWN else script or _plain(text)
    yield Document(list(blocks))


def _plain(text: str) -> Iterator[Block]:
    return (Block("paragraph", part.strip("\n")) for part in BLANK.split(text))


def _markdown(text: str) -> Iterator[Block]:
    """Blocks in the words of the source, marks of emphasis and links included."""
    tokens = MarkdownIt("commonmark").enable("table").parse(FRONT.sub("", text))
    at = 0
    while at < len(tokens):
        end = _closing(tokens, at)
        yield from _block(tokens[at : end + 1])
        at = end + 1


def _closing(tokens: Sequence[Token], at: int) -> int:
    depth = 0
    for index in range(at, len(tokens)):
        depth += tokens[index].nesting
        if depth == 0:
            return index
    return len(tokens) - 1


def _block(tokens: Sequence[Token]) -> Iterator[Block]:
    first = tokens[0]
    if first.type == "heading_open":
        yield Block("heading", tokens[1].content, level=int(first.tag[1]))
    elif first.type in ("fence", "code_block"):
        yield Block("code", first.content)
    elif first.type == "table_open":
        yield Block("table", rows=_rows(tokens))
    elif first.type in ("bullet_list_open", "ordered_list_open"):
        yield from _items(tokens)
    elif first.type == "html_block":
        yield Block("paragraph", re.sub(r"<!--.*?-->|<[^>]+>", "", first.content, flags=re.DOTALL))
    else:
        yield from (Block("paragraph", t.content) for t in tokens if t.type == "inline")


def _rows(tokens: Sequence[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(token.content)
    return rows


def _items(tokens: Sequence[Token]) -> Iterator[Block]:
    for before, token in zip(tokens, tokens[1:], strict=False):
        if token.type == "inline":
            yield Block("list", f"- {token.content}")
        elif token.type in ("fence", "code_block") and before:
            yield Block("code", token.content)
