"""What the page says: one catalogue per language, `<code>.json`, all with the same keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

DEFAULT = "en"
COOKIE = "redraft_language"  # set by the page's switch; without it the browser's language counts
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Words:
    """The sentences of one language. `language` is one of `languages()`."""

    language: str = DEFAULT

    def __call__(self, key: str, **values: object) -> str:
        """The sentence with this key, its {places} filled."""
        return catalogue(self.language)[key].format(**values)


def languages() -> tuple[str, ...]:
    """The codes of all languages, the default one first."""
    codes = sorted(path.stem for path in _FOLDER.glob("*.json"))
    return tuple(sorted(codes, key=lambda code: code != DEFAULT))


@lru_cache
def catalogue(language: str) -> Mapping[str, str]:
    """All sentences of a language by key."""
    found = json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return MappingProxyType(found)


def negotiate(cookies: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The language of a request: the one switched to, else the first the browser asks for.

    The weights of Accept-Language are not read: browsers send their list in order.
    """
    asked = headers.get("accept-language", "").split(",")
    for wanted in (cookies.get(COOKIE, ""), *asked):
        code = wanted.split(";")[0].split("-")[0].strip().lower()
        if code in languages():
            return code
    return DEFAULT
