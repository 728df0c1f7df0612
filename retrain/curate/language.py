"""Answers to learn from are in the languages of `REDRAFT_LANGUAGES`; empty, the default: in any.

Writing systems that one language has decide at once (Chinese, Japanese, Korean); else py3langid
does, a naive Bayes model over byte n-grams that comes with its package. What is short, code, or
near to several languages is let through: a wrong verdict would cost more than a foreign row.
"""

import re
from functools import lru_cache
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from retrain.curate._outcome import Outcome, sift
from retrain.curate._taught import taught
from retrain.rows import Row
from serve.settings import Settings

SHORT = 40  # letters of an alphabet
SHORT_HAN = 6
SURE = 0.95
UNKNOWN = "und"
SYMBOLS = 0.06  # share of characters from which a text is code
FENCED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
CODE = re.compile(r"[{}\[\]();=<>_\\|#$&*/]")
KANA, HANGUL, HAN = (re.compile(f"[{span}]") for span in ("ぁ-ヿ", "가-힣", "\u3400-\u9fff"))


def apply(rows: list[Row], settings: Settings) -> Outcome:
    wanted = {name.strip().casefold() for name in settings.languages.split(",")} - {""}

    def why(row: Row) -> str | None:
        text = taught(row) if wanted else None
        found = language(text) if text else None
        return f"in another language ({found})" if found and found not in wanted else None

    return sift(rows, why)


@lru_cache(maxsize=10_000)
def language(text: str) -> str | None:
    """The ISO 639-1 code of the language that the text is in; None when that is not sure."""
    prose = FENCED.sub(" ", text)
    letters = sum(character.isalpha() for character in prose)
    han = len(HAN.findall(prose))
    for name, pattern in (("ja", KANA), ("ko", HANGUL)):
        if len(pattern.findall(prose)) >= max(SHORT_HAN, 0.2 * letters):
            return name
    if han >= max(SHORT_HAN, 0.5 * letters):
        return "zh"
    if letters < SHORT or len(CODE.findall(prose)) > SYMBOLS * len(prose):
        return None
    name, probability = _identifier().classify(prose)
    return str(name) if probability >= SURE and name != UNKNOWN else None


@lru_cache(maxsize=1)
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
