"""Swearing, by a list of words (`profanity.txt`, which says where it is from).

A library that is kept and works offline knows more words, and means less by them: glin-profanity
4.1 marks 142 of 5,281 rows of medicine, films, music, travel and chat, for anatomy, `成人`, the
sign of the zodiac `处女座` and letters that it reads across words. Hardly one of them swears, and
a domain dataset must keep them. This list marks none of them.
"""

import re
from functools import cache
from pathlib import Path

WORDS = Path(__file__).with_suffix(".txt")


def swears(text: str) -> bool:
    """Whether one of the words is in the text; English ones whole, blind to case."""
    return _pattern().search(text) is not None


@cache
def _pattern() -> re.Pattern[str]:
    lines = WORDS.read_text(encoding="utf-8").splitlines()
    words = [re.escape(line) for line in lines if line and not line.startswith("#")]
    english = "|".join(word for word in words if word.isascii())
    others = "|".join(word for word in words if not word.isascii())
    return re.compile(f"(?<![A-Za-z])(?:{english})(?![A-Za-z])|{others}", re.IGNORECASE)
