"""One form for one text: broken encodings mended (ftfy), Unicode composed (NFC), line ends alike.

Nothing that a person could have meant is touched: no quotes, widths, ligatures or HTML entities,
which Chinese punctuation and code are full of.
"""

from functools import lru_cache

from ftfy import TextFixerConfig, fix_text

from retrain.curate._outcome import Outcome
from retrain.curate._texts import change_all
from retrain.rows import Row
from serve.settings import Settings

CONFIG = TextFixerConfig(
    unescape_html=False,
    uncurl_quotes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    normalization="NFC",
    explain=False,
)


def apply(rows: list[Row], settings: Settings) -> Outcome:
    return change_all(rows, mended, "texts mended or composed")


@lru_cache(maxsize=10_000)
def mended(text: str) -> str:
    """The text in that form."""
    return fix_text(text, CONFIG)
