"""What the tests of the trainers share: a random two-layer base, rows, and what adapters say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

from retrain.job import TrainJob
from retrain.trainers import _lora

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FAST = {"learning_rate": 1e-2, "epochs": 8, "batch_size": 2}

Row = dict[str, Any]
Job = Callable[..., TrainJob]


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


SFT = [
    {"prompt": user("colour?"), "completion": assistant("blue"), "weight": 1.0},
    {"prompt": user("size?"), "completion": assistant("big"), "weight": 1.0},
]
PAIRS = [
    {"prompt": user("colour?"), "chosen": assistant("blue"), "rejected": assistant("red")},
    {"prompt": user("size?"), "chosen": assistant("big"), "rejected": assistant("tiny")},
]

THUMBS = [
    {"prompt": user("colour?"), "completion": assistant("blue"), "label": True},
    {"prompt": user("size?"), "completion": assistant("tiny"), "label": False},
]


def make_base(folder: Path) -> Path:
    """The model and its tokenizer, of bytes, in the folder."""
    vocabulary = [
        "<|pad|>",
        "<|im_start|>",
        "<|im_end|>",
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
    ]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(vocabulary[:3])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.2,  # large enough for the adapter to move the answers
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def make_job(base: Path, rows: list[Row], out: Path, own: Row, **more: Any) -> TrainJob:
    """A quick training of the rows: `own` settings over those."""
    columns = set(rows[0]) if rows else set()
    few = {"completion", "chosen"} & columns and "longest" not in own
    settings = {
        **({"min_steps": 0} if few else {}),
        **({"replay": 0} if "completion" in columns and "label" not in columns else {}),
        **FAST,
        **own,
    }
    return TrainJob(model=base, out=out, rows=rows, settings=settings, **more)


def log_probs(
    base: Path, adapter: Path | None, prompt: list[int], answer: list[int]
) -> list[float]:
    """Of each answer token, from the adapter merged as serving merges it."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    with torch.no_grad():
        scores = model(torch.tensor([prompt + answer])).logits.float().log_softmax(-1)
    of_answer = scores[0, len(prompt) - 1 : -1]
    return of_answer.gather(-1, torch.tensor(answer)[:, None])[:, 0].tolist()


def preference(base: Path, adapter: Path | None, row: Row) -> float:
    """How much likelier the adapter finds the row's chosen answer than its rejected one."""
    tokenizer = _lora.open_tokenizer(base)
    prompt = _lora.encode_prompt(tokenizer, row["prompt"])
    chosen, rejected = (
        sum(log_probs(base, adapter, prompt, _lora.encode_answer(tokenizer, row[name])))
        for name in ("chosen", "rejected")
    )
    return chosen - rejected


def groups(base: Path, temperature: float = 0.9) -> list[Row]:
    """The pairs as groups of drafts that the base itself could have drawn."""
    tokenizer = _lora.open_tokenizer(base)

    def draft(prompt: list[int], answer: list[dict[str, str]], reward: float) -> Row:
        ids = _lora.encode_answer(tokenizer, answer)
        return {
            "text": answer[0]["content"],
            "token_ids": ids,
            "logprobs": log_probs(base, None, prompt, ids),
            "reward": reward,
            "adapter": "base",
        }

    rows = []
    for pair in PAIRS:
        prompt = _lora.encode_prompt(tokenizer, pair["prompt"])
        drafts = [draft(prompt, pair["chosen"], 1.0), draft(prompt, pair["rejected"], 0.0)]
        rows.append({"prompt": pair["prompt"], "temperature": temperature, "completions": drafts})
    return rows


def rows_for(name: str, base: Path) -> list[Row]:
    made = {"sft": lambda: SFT, "kto": lambda: THUMBS, "grpo": lambda: groups(base)}
    return made.get(name, lambda: PAIRS)()
