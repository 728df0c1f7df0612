"""What one would write without Redraft: TRL's DPO on pairs in a file, with the same settings.

    python _plain_trl.py MODEL PAIRS.jsonl OUT STEPS

Prints a JSON line: seconds from loading the model to the saved adapter, steps, tokens trained on.
"""

import json
import sys
import time

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from retrain.trainers._lora import has_bfloat16
from retrain.trainers.dpo import DEFAULTS


def main(model: str, pairs: str, out: str, steps: int) -> None:
    begun = time.monotonic()
    with open(pairs, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    kept = [{side: said(row[side]) for side in ("prompt", "chosen", "rejected")} for row in rows]
    tokenizer = AutoTokenizer.from_pretrained(model)
    dtype = torch.bfloat16 if has_bfloat16() else torch.float32
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=dtype),
        args=DPOConfig(
            output_dir=out,
            learning_rate=DEFAULTS["learning_rate"],
            max_steps=steps,
            per_device_train_batch_size=DEFAULTS["batch_size"],
            warmup_steps=DEFAULTS["warmup"],
            lr_scheduler_type=DEFAULTS["schedule"],
            beta=DEFAULTS["beta"],
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, DEFAULTS["sft_weight"]],
            max_length=DEFAULTS["max_length"],
            activation_checkpointing=DEFAULTS["activation_checkpointing"],
            bf16=has_bfloat16(),
            use_cpu=not torch.cuda.is_available(),
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(kept),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=DEFAULTS["rank"],
            lora_alpha=DEFAULTS["alpha"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    trainer.save_model(out)
    tokens = sum(
        len(tokenizer.apply_chat_template(row["prompt"] + row[side], return_dict=False))
        for row in kept
        for side in ("chosen", "rejected")
    )
    told = {
        "seconds": time.monotonic() - begun,
        "steps": trainer.state.global_step,
        "tokens": round(tokens * trainer.state.epoch),
    }
    print(json.dumps(told), flush=True)


def said(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]


if __name__ == "__main__":
    model, pairs, out, steps = sys.argv[1:]
    main(model, pairs, out, int(steps))
