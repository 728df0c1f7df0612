"""Passwords: argon2 as the library sets it, and the same work for names that do not exist."""

import secrets
import unicodedata
from functools import lru_cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from feedback.errors import Invalid

SHORTEST, LONGEST = 10, 200  # characters
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_HASHER = PasswordHasher()
_AT_ONCE = BoundedSemaphore(2)  # each takes 64 MiB: a crowd at the door must not take all of it


def hash_password(password: object) -> str:
    """The argon2 hash to keep. Raises Invalid for a password that is too short or too long."""
    given = _bytes(checked(password))
    with _AT_ONCE:
        return _HASHER.hash(given)


def checked(password: object) -> str:
    """The password, when it is long enough to keep others out; raises Invalid."""
    if not isinstance(password, str) or not SHORTEST <= len(password) <= LONGEST:
        raise Invalid("password", f"A password has {SHORTEST} to {LONGEST} characters.")
    return password


def fits(password: str, kept: str | None) -> bool:
    """Whether `kept` is the password's hash. Without a hash it takes as long, and is False."""
    given = password if len(password) <= LONGEST else ""
    with _AT_ONCE:
        try:
            return _HASHER.verify(kept or _nobodys(), _bytes(given)) and bool(kept)
        except (VerificationError, InvalidHashError):
            return False


def new_password() -> str:
    """A random password of 99 bits that can be read out and typed."""
    letters = [secrets.choice(_ALPHABET) for _ in range(20)]
    return "-".join("".join(letters[at : at + 5]) for at in range(0, 20, 5))


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_bytes(16))


def _bytes(password: str) -> bytes:
    # The same password typed on two systems may differ in how its accents are composed.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")
