"""Stable splits by hash: what is trained on or held out, and what the canary answers."""

import hashlib
from typing import Literal


def split_of(user_id: str, conversation_id: str, share: float) -> Literal["train", "heldout"]:
    """The split of a conversation, a pure function of both ids; `share` (0 to 1) are held out."""
    return "heldout" if _below(f"{user_id}\n{conversation_id}", share) else "train"


def takes_canary(conversation_id: str, canary: str, share: float) -> bool:
    """Whether the canary answers the conversation: for each canary another `share` of them."""
    return _below(f"canary {canary}\n{conversation_id}", share)


def percent(share: float) -> str:
    """A share as people read it, such as "12.5 %"."""
    return f"{100 * share:.4g} %"


def _below(text: str, share: float) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < share * 2**64
