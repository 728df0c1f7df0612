"""`{prompt, reference}`: what online trainers draw their own answers to, as TRL's GRPO does.

`reference` is the answer that somebody stands for. TRL hands it to the functions that reward: how
near a drawn answer comes to it is theirs to say. It is an answer again when it is read.
"""

from typing import Any

from retrain.forms import sft
from retrain.forms._told import Told, need

OF = "sft"
MADE_OF = "what sft is made of: its prompts, and its answers as references"


def write(example: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": example["prompt"], "reference": example["completion"][0]["content"]}


def read(row: dict[str, Any]) -> list[Told]:
    (reference,) = need(row, "reference")
    return sft.read({**row, "completion": [{"role": "assistant", "content": reference}]})
