"""Stable splits by hash: trained on or held out, answered by the canary, shown to a reviewer."""

import hashlib
from typing import Literal


def split_of(user_id: str, conversation_id: str, share: float) -> Literal["train", "heldout"]:
    """The split of a conversation, a pure function of both ids; `share` (0 to 1) are held out."""
    return "heldout" if _below(f"{user_id}\n{conversation_id}", share) else "train"


def takes_canary(conversation_id: str, canary: str, share: float) -> bool:
    """Whether the canary answers the conversation: for each canary another `share` of them."""
    return _below(f"canary {canary}\n{conversation_id}", share)


def is_sampled(feedback_id: str, share: float) -> bool:
    """Whether a reviewer is to look at the verdict although nothing is said against it."""
    return _below(f"review {feedback_id}", share)


def percent(share: float) -> str:
    """A share as people read it, such as "12.5 %"."""
    return f"{100 * share:.4g} %"


def _below(text: str, share: float) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < share * 2**64
