"""CSV and TSV in any encoding and with any delimiter, a part of the rows a document."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from retrain.corpus.document import Document
from retrain.corpus.readers._encoding import decoded
from retrain.corpus.readers._tables import in_parts
from retrain.corpus.stage import CorpusError, Trouble

SUFFIXES = (".csv", ".tsv")
DELIMITERS = ",;\t|"
SAMPLE = 64_000  # characters that the delimiter is told by
LONGEST = 10_000_000  # characters of a field


def read(path: Path) -> Iterator[Document | Trouble]:
    text = decoded(path)
    csv.field_size_limit(LONGEST)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, path))
    try:
        yield from in_parts(rows)
    except csv.Error as error:
        raise CorpusError(f"line {rows.line_num} is no CSV: {error}. Mend that line.") from error


def _delimiter(text: str, path: Path) -> str:
    """What stands between cells; the rest that a sniffer guesses of quotes is often wrong."""
    try:
        return csv.Sniffer().sniff(text[:SAMPLE], DELIMITERS).delimiter
    except csv.Error:  # one column, or too little to tell
        return "\t" if path.suffix.lower() == ".tsv" else ","
