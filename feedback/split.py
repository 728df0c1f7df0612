"""The stable split into what is trained on and what is held out."""

import hashlib
from typing import Literal


def split_of(user_id: str, conversation_id: str, share: float) -> Literal["train", "heldout"]:
    """The split of a conversation, a pure function of both ids; `share` (0 to 1) are held out."""
    digest = hashlib.sha256(f"{user_id}\n{conversation_id}".encode()).digest()
    return "heldout" if int.from_bytes(digest[:8], "big") < share * 2**64 else "train"
