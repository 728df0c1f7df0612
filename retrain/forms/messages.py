"""`{messages}`: a whole conversation, as most chat trainers read it; of the rows of sft."""

from typing import Any

from retrain.forms.sft import read

__all__ = ["MADE_OF", "OF", "read", "write"]

OF = "sft"
MADE_OF = "what sft is made of, in one list of messages"


def write(example: dict[str, Any]) -> dict[str, Any]:
    return {"messages": example["prompt"] + example["completion"]}
