"""The options of `redraft corpus`, as the stages share them, and what they say together."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from retrain.corpus import kinds
from retrain.corpus.generate import INSTRUCTIONS, PAIRS, Asking
from retrain.corpus.query import Query
from retrain.corpus.segment import LONGEST
from retrain.corpus.semantic import Cutting
from retrain.corpus.write import BY

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def with_all(command: Decorated, options: Sequence[Callable[[Decorated], Decorated]]) -> Decorated:
    """The command with these options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def into(command: Decorated) -> Decorated:
    """The option that names the folder of a corpus."""
    option = click.option(
        "--into",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the corpus; `corpus` in REDRAFT_HOME when not given.",
    )
    return option(command)


def sources(command: Decorated) -> Decorated:
    """What a corpus is made of."""
    argument = click.argument("source", nargs=-1, type=click.Path(path_type=Path))
    options = (
        click.option("--sql", help="SQLAlchemy URL of a database to query."),
        click.option("--query", help="The query, a SELECT; each row becomes a document."),
        click.option(
            "--max-mb", default=500.0, show_default=True, help="Largest file that is read, in MB."
        ),
    )
    return argument(with_all(command, options))


def cut(command: Decorated) -> Decorated:
    """How documents are cut into units."""
    options = (
        click.option(
            "--longest",
            default=LONGEST,
            show_default=True,
            help="Longest unit, in characters; a Chinese, Japanese or Korean one counts twice.",
        ),
        click.option("--teacher", is_flag=True, help="Have the teacher cut, by theme."),
        click.option("--theme", multiple=True, help="With --teacher: a theme to sort units into."),
    )
    return with_all(command, options)


def asked(command: Decorated) -> Decorated:
    """How the teacher is asked."""
    options = (
        click.option(
            "--kind",
            "kind",
            multiple=True,
            default=(kinds.DEFAULT,),
            show_default=True,
            type=click.Choice(kinds.names()),
            help="What it writes about each unit. May be repeated.",
        ),
        click.option(
            "--pairs",
            default=PAIRS,
            show_default=True,
            help="Rows of a kind about a unit, at most.",
        ),
        click.option("--term", multiple=True, help="A term of the field, to be used as it is."),
        click.option(
            "--seeds",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="Instructions that --kind instruct goes out from, one a line; ours if not given.",
        ),
        click.option(
            "--instructions",
            default=INSTRUCTIONS,
            show_default=True,
            help="Instructions that --kind instruct asks for.",
        ),
    )
    return with_all(command, options)


def judged(command: Decorated) -> Decorated:
    """Whether the teacher judges as well."""
    option = click.option(
        "--verdict",
        is_flag=True,
        help="Have the teacher judge too: does the source support the answer, and can the question "
        "be answered without the document?",
    )
    return option(command)


def written(command: Decorated) -> Decorated:
    """How the dataset is written."""
    options = (
        click.option("--system", default="", help="System message of every row."),
        click.option(
            "--split",
            "by",
            type=click.Choice(BY),
            default=BY[0],
            show_default=True,
            help="What is held out: whole documents, or questions about documents that are "
            "trained on.",
        ),
    )
    return with_all(command, options)


def asking_of(kind: Sequence[str], term: Sequence[str], **given: Any) -> Asking:
    """What the options of `asked` say."""
    asking = Asking(terms=term, kinds=tuple(dict.fromkeys(kind)), **given)
    if asking.seeds and not asking.seeded:
        raise click.UsageError("--seeds goes with --kind instruct, which is made of them.")
    return asking


def cutting_of(longest: int, teacher: bool, themes: Sequence[str]) -> Cutting | None:
    """How the teacher cuts; None where the structure does."""
    if themes and not teacher:
        raise click.UsageError("--theme goes with --teacher, who sorts units into themes.")
    return Cutting(themes, longest) if teacher else None


def query_of(sql: str | None, query: str | None) -> Query | None:
    if bool(sql) is not bool(query):
        raise click.UsageError("--sql and --query go together: a database, and what to ask it.")
    return Query(sql, query) if sql and query else None
