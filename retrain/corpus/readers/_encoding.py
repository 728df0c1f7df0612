"""The text of a file whose encoding nobody says: UTF-8 or 16, GB18030, or what fits best."""

import re
from pathlib import Path

from retrain.corpus.readers import need
from retrain.corpus.stage import CorpusError

BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Characters that ordinary Chinese text is made of: GB2312's first level, which is sorted by sound,
# has the 3,755 most frequent ones; and Chinese punctuation.
COMMON = 0.8
LEVEL_ONE = re.compile(rb"[\xb0-\xd7][\xa1-\xfe]|[\xa1\xa3][\xa1-\xfe]")
PAIR = re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]")
SAMPLE = 1_000_000


def decoded(path: Path) -> str:
    """The file as text. Raises CorpusError for what is none."""
    data = path.read_bytes()
    return data.decode(encoding_of(data), errors="replace").replace("\r\n", "\n")


def encoding_of(data: bytes) -> str:
    """The name of the encoding. Raises CorpusError for bytes that are no text."""
    for mark, name in BOMS.items():
        if data.startswith(mark):
            return name
    if _decodes(data, "utf-8"):
        if b"\x00" in data[:SAMPLE]:
            raise CorpusError(
                "it is no text: there are zero bytes in it. Give it its right suffix."
            )
        return "utf-8"
    if _decodes(data, "gb18030") and _is_chinese(data[:SAMPLE]):
        return "gb18030"
    best = need("charset_normalizer", "This encoding").from_bytes(data[:SAMPLE]).best()
    if best is None:
        raise CorpusError("it is no text in a known encoding. Save it as UTF-8.")
    return str(best.encoding)


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_chinese(data: bytes) -> bool:
    pairs = PAIR.findall(data)
    common = sum(LEVEL_ONE.fullmatch(pair) is not None for pair in pairs)
    return common >= COMMON * len(pairs)
