"""Excel and LibreOffice Calc, by calamine: each sheet a table, long ones in parts.

The first row of more than one cell is the header, which every part repeats.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from retrain.corpus.document import Document
from retrain.corpus.readers import need
from retrain.corpus.readers._packed import check_packed
from retrain.corpus.readers._tables import in_parts
from retrain.corpus.stage import CorpusError, Trouble

SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
PANIC = "PanicException"  # of Rust, which is no Exception
PACKED = (".xlsx", ".xlsm", ".xlsb", ".ods")


def read(path: Path) -> Iterator[Document | Trouble]:
    calamine = need("python_calamine", "Excel")
    if path.suffix.lower() in PACKED:
        check_packed(path, "Excel")
    try:
        with calamine.load_workbook(path) as book:
            for name in book.sheet_names:
                rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
                yield from in_parts((_cells(row) for row in rows), name)
    except calamine.PasswordError as error:
        raise CorpusError("it is encrypted. Save it anew without a password.") from error
    except calamine.CalamineError as error:
        raise CorpusError(f"it is damaged ({error}). Save it anew as .xlsx.") from error
    except BaseException as error:
        if type(error).__name__ != PANIC:
            raise
        raise CorpusError("it is damaged. Save it anew as .xlsx.") from error


def _cells(row: list[Any]) -> list[str]:
    return [_told(value) for value in row]


def _told(value: Any) -> str:
    """A value as people write it: 3 and not 3.0, dates as ISO 8601 without an empty time."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15g}" if not value.is_integer() or abs(value) >= 1e15 else str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return value.isoformat() if isinstance(value, date | time) else _span(value)


def _span(value: Any) -> str:
    return str(value) if isinstance(value, str | int | timedelta) else repr(value)
