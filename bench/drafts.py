"""Which objective learns most from picked drafts: a user who always picks the shorter of two.

    python bench/drafts.py MODEL PROMPTS [--cache FILE] [--only dpo grpo] [--set dpo.epochs=4]

MODEL is the folder of the base, PROMPTS a text file with a prompt per line, or a JSON-lines file
with `instruction` (rows with an `input` are passed over). Two drafts of 60 prompts are drawn at
temperature 0.9; 48 of them train, without those of which both drafts were cut off (`--cut` keeps
them). 30 other prompts are answered greedily by the base and by each adapter, merged as serving
merges it, in at most 120 tokens. Printed per objective: the share of prompts on which it is shorter
than the base, mean words, empty and looping answers, the mean log-likelihood of its answers under
the base (how far from the base's language it went), and seconds of training. `--cache` keeps the
drafts.
"""

import argparse
import importlib
import json
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from retrain.job import TrainJob
from retrain.trainers import _lora

TRAINED, PICKED, UNSEEN = 48, 60, 30
TEMPERATURE, MAX_TOKENS = 0.9, 120
Draft = dict[str, Any]


def user(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


class Writer:
    """The base model, or an adapter merged into it, writing and scoring in padded batches."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        self.tokenizer = _lora.open_tokenizer(folder)
        self.end = _lora.end_of_turn(self.tokenizer)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        self.model = model.to(self.device).eval()

    @torch.no_grad()
    def write(self, prompts: Sequence[str], temperature: float = 0.0) -> list[Draft]:
        """One draft per prompt; greedy at temperature 0."""
        ids = [_lora.encode_prompt(self.tokenizer, user(prompt)) for prompt in prompts]
        width = max(map(len, ids))
        batch = torch.tensor([[self.end] * (width - len(one)) + one for one in ids])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
        drawing = (
            {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            if temperature
            else {"do_sample": False}
        )
        written = self.model.generate(
            batch.to(self.device),
            attention_mask=mask.to(self.device),
            max_new_tokens=MAX_TOKENS,
            eos_token_id=self.end,
            pad_token_id=self.end,
            **drawing,
        )[:, width:].tolist()
        return [
            self._draft(prompt, tokens, temperature)
            for prompt, tokens in zip(ids, written, strict=True)
        ]

    def _draft(self, prompt: list[int], tokens: list[int], temperature: float) -> Draft:
        if self.end in tokens:
            tokens = tokens[: tokens.index(self.end) + 1]
        return {
            "text": self.tokenizer.decode(tokens, skip_special_tokens=True).strip(),
            "finish_reason": "stop" if tokens[-1] == self.end else "length",
            "token_ids": tokens,
            "logprobs": self.score(prompt, tokens, temperature or 1.0),
            "adapter": "base",
        }

    @torch.no_grad()
    def score(self, prompt: list[int], tokens: list[int], temperature: float = 1.0) -> list[float]:
        """Log-probability of each token at the temperature."""
        ids = torch.tensor([prompt + tokens], device=self.device)
        logits = self.model(ids).logits[0, len(prompt) - 1 : -1].float() / temperature
        wanted = torch.tensor(tokens, device=self.device)[:, None]
        found: list[float] = logits.log_softmax(-1).gather(-1, wanted)[:, 0].tolist()
        return found


def collect(folder: Path, prompts: Sequence[str]) -> dict[str, Any]:
    """Two drafts of each prompt that is picked on, and the base's answers to the unseen ones."""
    torch.manual_seed(7)
    base = Writer(folder)
    picked, unseen = prompts[:PICKED], prompts[PICKED : PICKED + UNSEEN]
    drafts = base.write([prompt for prompt in picked for _ in range(2)], TEMPERATURE)
    return {
        "picked": [
            {"prompt": prompt, "drafts": drafts[2 * i : 2 * i + 2]}
            for i, prompt in enumerate(picked)
        ],
        "unseen": [
            {"prompt": prompt, "base": answer}
            for prompt, answer in zip(unseen, base.write(unseen), strict=True)
        ],
    }


def size(text: str) -> tuple[int, int]:
    """Words, and where they are equal, characters."""
    return len(text.split()), len(text)


def message(draft: Draft) -> dict[str, str]:
    cut = draft["finish_reason"]
    return {"role": "assistant", "content": draft["text"], "finish_reason": cut}


def rows(turns: Sequence[dict[str, Any]], method: str, cut: bool) -> list[dict[str, Any]]:
    whole = [t for t in turns if cut or any(d["finish_reason"] == "stop" for d in t["drafts"])]
    return [one for one in (_row(turn, method) for turn in whole) if one]


def _row(turn: dict[str, Any], method: str) -> dict[str, Any] | None:
    short, long = sorted(turn["drafts"], key=lambda draft: size(draft["text"]))
    if not short["text"] or short["text"] == long["text"]:
        return None
    prompt = user(turn["prompt"])
    chosen, rejected = ([message(draft)] for draft in (short, long))
    if method == "sft":
        return {"prompt": prompt, "completion": chosen}
    if method == "dpo":
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    graded = [{**short, "reward": 1.0}, {**long, "reward": 0.0}]
    return {"prompt": prompt, "temperature": TEMPERATURE, "completions": graded}


def loops(text: str) -> bool:
    """Whether a run of four words comes three times or more."""
    words = text.lower().split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return any(runs.count(run) >= 3 for run in set(runs))


def measure(folder: Path, answers: Sequence[str], unseen: Sequence[dict[str, Any]]) -> str:
    """One line of the table."""
    before = [turn["base"]["text"] for turn in unseen]
    wins = [size(new)[0] < size(old)[0] for new, old in zip(answers, before, strict=True)]
    base = Writer(folder)
    likelihood = [
        statistics.fmean(
            base.score(
                _lora.encode_prompt(base.tokenizer, user(turn["prompt"])),
                [*base.tokenizer(answer, add_special_tokens=False).input_ids, base.end],
            )
        )
        for turn, answer in zip(unseen, answers, strict=True)
    ]
    return (
        f"{statistics.fmean(wins):5.2f} {statistics.fmean(size(one)[0] for one in answers):6.1f} "
        f"{sum(not one for one in answers):6d} {sum(map(loops, answers)):6d} "
        f"{statistics.fmean(likelihood):11.2f}"
    )


def setting(text: str) -> tuple[str, str, Any]:
    name, _, value = text.partition("=")
    method, _, field = name.partition(".")
    return method, field, json.loads(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("--cache", type=Path, help="read the drafts here, or write them")
    parser.add_argument("--only", nargs="+", default=["sft", "dpo", "grpo"])
    parser.add_argument("--set", nargs="*", type=setting, default=[], metavar="dpo.epochs=4")
    parser.add_argument("--cut", action="store_true", help="train on pairs of two cut drafts too")
    parser.add_argument("--show", type=int, default=0, help="answers to print per objective")
    given = parser.parse_args()
    _lora.quiet()
    data = load(given)
    unseen = data["unseen"]
    print("objective   wins  words  empty  loops  likelihood  seconds  settings")
    before = [turn["base"]["text"] for turn in unseen]
    print(f"{'base':10} {measure(given.model, before, unseen)}")
    for method in given.only:
        own = {field: value for owner, field, value in given.set if owner == method}
        answers, seconds = learn(given.model, data, method, own, given.cut)
        print(
            f"{method:10} {measure(given.model, answers, unseen)} {seconds:8.0f}  {own or ''}",
            flush=True,
        )
        for turn, answer in list(zip(unseen, answers, strict=True))[: given.show]:
            print(f"    {turn['prompt'][:60]} -> {answer[:160]!r}")


def load(given: argparse.Namespace) -> dict[str, Any]:
    if given.cache and given.cache.exists():
        cached: dict[str, Any] = json.loads(given.cache.read_text())
        return cached
    prompts = given.prompts.read_text().splitlines()
    if given.prompts.suffix == ".jsonl":
        found = [json.loads(line) for line in prompts]
        prompts = [line["instruction"] for line in found if not line.get("input")]
        random.Random(7).shuffle(prompts)
    data = collect(given.model, prompts)
    if given.cache:
        given.cache.write_text(json.dumps(data))
    return data


def learn(
    model: Path, data: dict[str, Any], method: str, own: dict[str, Any], cut: bool
) -> tuple[list[str], float]:
    """The unseen prompts' answers after training by the method, and the seconds it took."""
    trainer = importlib.import_module(f"retrain.trainers.{method}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / method
        job = TrainJob(
            model=model, out=out, rows=rows(data["picked"][:TRAINED], method, cut), settings=own
        )
        result = trainer.train(job)
        written = Writer(model, out).write([turn["prompt"] for turn in data["unseen"]])
    return [draft["text"] for draft in written], result["seconds"]


if __name__ == "__main__":
    main()
