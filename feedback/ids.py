"""Ids say what they name: conv_…, turn_…, cmpl_…, fb_…, usr_…, key_…"""

import secrets


def new_id(prefix: str) -> str:
    """A new random id such as `cmpl_3f9c…` (96 random bits)."""
    return f"{prefix}_{secrets.token_hex(12)}"


def plausible(id: object) -> str:
    """The id, or "" for what cannot be one, some of which the drivers of databases choke on."""
    return id if isinstance(id, str) and id.isascii() and id.isprintable() else ""
