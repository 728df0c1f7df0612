"""Personal data in a text: e-mail and IP addresses, phone, card, account and ID numbers.

Numbers with a check digit count only when it is right, phone numbers only in forms that their
country's numbering plan knows (Google's libphonenumber, which knows Chinese and US numbers without
a country code here), so order numbers, dates and years stay. Names of people are not sought.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from phonenumbers import Leniency, PhoneNumberMatcher
from stdnum import iban, luhn
from stdnum.cn import ric

EMAIL = re.compile(r"[A-Za-z0-9_%+-]+(?:\.[A-Za-z0-9_%+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
IP = re.compile(
    r"(?<![A-Za-z0-9_.:])(?:\d{1,3}(?:\.\d{1,3}){3}"
    r"|[0-9A-Fa-f]{1,4}:(?:[0-9A-Fa-f]{0,4}:){2,6}[0-9A-Fa-f]{0,4})(?![A-Za-z0-9_:]|\.\d)"
)
ID = re.compile(r"(?<!\d)\d{17}[\dXx](?![\dA-Za-z])")
IBAN = re.compile(
    r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Z0-9])"
)
CARD = re.compile(r"(?<![\d.-])[3-6](?:[ -]?\d){12,18}(?![\d-])")
MOBILE = re.compile(r"(?<![\d.-])(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\d.-])")
ANY = re.compile(r"[\d@]|::")  # without one of these there is nothing to look for
PLANS = (
    (None, Leniency.VALID),
    ("CN", Leniency.STRICT_GROUPING),
    ("US", Leniency.STRICT_GROUPING),
)


@dataclass(frozen=True)
class Found:
    """One piece of personal data; `value` is equal for equal data in other spellings."""

    start: int
    end: int
    kind: str  # EMAIL, IP, ID, IBAN, CARD, PHONE
    value: str


def find(text: str) -> tuple[Found, ...]:
    """What there is, in order; where two readings overlap, the first kind of `Found` wins."""
    if not ANY.search(text):
        return ()
    found: list[Found] = []
    for new in _all(text):
        if all(new.end <= old.start or old.end <= new.start for old in found):
            found.append(new)
    return tuple(sorted(found, key=lambda one: one.start))


def _all(text: str) -> Iterator[Found]:
    yield from _matching(EMAIL, "EMAIL", text, lambda value: True)
    yield from _matching(IP, "IP", text, _is_global)
    yield from _matching(ID, "ID", text, ric.is_valid)
    yield from _matching(IBAN, "IBAN", text, iban.is_valid)
    yield from _matching(CARD, "CARD", text, luhn.is_valid)
    yield from _matching(MOBILE, "PHONE", text, lambda value: True)
    for region, leniency in PLANS:
        for match in PhoneNumberMatcher(text, region, leniency):
            yield Found(match.start, match.end, "PHONE", str(match.number.national_number))


def _matching(
    pattern: re.Pattern[str], kind: str, text: str, right: Callable[[str], bool]
) -> Iterator[Found]:
    for match in pattern.finditer(text):
        value = re.sub(r"[ -]", "", match[0]) if kind not in ("EMAIL", "IP") else match[0]
        if right(value):
            yield Found(match.start(), match.end(), kind, value.casefold())


def _is_global(value: str) -> bool:
    try:
        return ip_address(value).is_global
    except ValueError:
        return False
