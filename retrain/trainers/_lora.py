"""What all trainers share: settings, base model with adapter, tokens, progress, saving."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import datasets
import torch
import transformers
from peft import PeftModel
from transformers import (
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)

from retrain.job import TrainJob
from retrain.trainers import methods
from serve.engines.adapter_folder import kind_of

Row = TypeVar("Row")
Message = Mapping[str, Any]

UNMEASURED = {"entropy", "mean_token_accuracy", "logits/chosen", "logits/rejected"}

LORA = {
    "method": "lora",  # a file of `retrain/trainers/methods`
    "virtual_tokens": 20,  # of methods prefix and prompt
    "rank": 16,  # vLLM's default limit
    "alpha": 32,
    "dropout": 0.0,
    "learning_rate": 2e-4,
    "epochs": 3.0,
    "batch_size": 4,
    "warmup": 0.05,  # share of the steps
    "schedule": "cosine",
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "max_length": 1024,  # tokens of prompt and completion; longer rows are left out and counted
    "activation_checkpointing": False,  # less memory for a fifth more time
}


def settings_of(job: TrainJob, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's defaults, the method's over them, and the job's own values over both.

    Raises ValueError for an unknown name or a value of the wrong type.
    """
    method = methods.find(job.settings.get("method", defaults["method"]))
    defaults = {**defaults, **method.SETTINGS}
    unknown = sorted(set(job.settings) - set(defaults))
    if unknown:
        raise ValueError(
            f"Unknown training setting {unknown[0]!r}. "
            f"This trainer knows {', '.join(sorted(defaults))}. Correct the recipe."
        )
    return {
        name: _typed(name, job.settings.get(name, value), value) for name, value in defaults.items()
    }


def _typed(name: str, value: Any, default: Any) -> Any:
    wanted = type(default)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ValueError(
            f"Training setting {name!r} is {value!r}; "
            f"it must be of type {wanted.__name__}, like {default!r}. Correct the recipe."
        )
    return value


def has_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 natively; where not, float32 is faster."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    cpu = torch.cpu.get_capabilities()
    return bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16") or cpu.get("bf16"))


def device() -> str:
    """Where this process trains: of several on a machine, each has a GPU of its own."""
    local = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{local}" if torch.cuda.is_available() else "cpu"


def quiet() -> None:
    """Silence the libraries' own bars and advice; progress goes through the job's callback."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"  # what TRL asks before its own


def open_tokenizer(model: Path) -> Any:
    """The base model's tokenizer, with a padding token."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def open_model(job: TrainJob, settings: Mapping[str, Any]) -> PeftModel:
    """The frozen base with a trainable float32 adapter: that of `job.start`, or a fresh one.

    Raises ValueError when `job.start` is of another kind than the method makes.
    """
    transformers.set_seed(job.seed)
    method = methods.find(settings["method"])
    dtype = torch.bfloat16 if has_bfloat16() else torch.float32
    base = method.load(job.model, dtype, device())
    if settings["activation_checkpointing"]:
        base.enable_input_require_grads()  # else no gradient reaches the adapter's first layers
    model = _adapted(base, method, job, settings)
    base.is_loaded_in_4bit = False  # or TRL rounds the adapter to bfloat16: small steps are lost
    return model


def _adapted(base: Any, method: Any, job: TrainJob, settings: Mapping[str, Any]) -> PeftModel:
    if job.start is None:
        return method.begin(base, job.model, settings)
    if (kind := kind_of(job.start)) != method.KIND:
        raise ValueError(
            f"{job.start} is of kind {kind}, and method {settings['method']} makes {method.KIND}: "
            'adapters never stack. Begin at the base (start = "base" in the recipe).'
        )
    return method.go_on(base, job.model, settings, job.start)


def end_of_turn(tokenizer: Any) -> int:
    """The token that ends an answer in the chat template, as the model writes it when it stops."""
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ANSWER"}],
        tokenize=False,
    )
    after = tokenizer(rendered.rpartition("ANSWER")[2], add_special_tokens=False).input_ids
    ends = after and after[0] in tokenizer.all_special_ids
    return int(after[0] if ends else tokenizer.eos_token_id)


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of a prompt exactly as serving makes them.

    An assistant's message at the end is one to go on with: the beginning of the answer.
    """
    *told, last = messages
    if last["role"] == "assistant":
        return [*encode_prompt(tokenizer, told), *encode_answer(tokenizer, [last])]
    ids: list[int] = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_dict=False
    )
    return ids


def encode_answer(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of an answer as the model would have written it, with the end of its turn.

    A message whose `finish_reason` is there and not "stop" was cut off, or stopped at a delimiter,
    and gets no end: the model must not learn to stop in the middle. One with `token_ids` has those.
    """
    message = messages[-1]
    if message.get("token_ids"):
        return list(message["token_ids"])
    ids: list[int] = tokenizer(message["content"], add_special_tokens=False).input_ids
    return [*ids, end_of_turn(tokenizer)] if message.get("finish_reason", "stop") == "stop" else ids


class _Report(TrainerCallback):  # type: ignore[misc]
    """Hands every optimiser step's numbers to the job."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:  # not the summary at the end
            numbers = {name: float(logs[name]) for name in logs.keys() - UNMEASURED}
            self.job.progress(state.global_step, state.max_steps, numbers)


def arguments(
    kind: type[Any], scratch: str, job: TrainJob, settings: Mapping[str, Any], **own: Any
) -> Any:
    """A configuration of `kind`: the shared settings, silent, nothing saved on the way."""
    shared = dict(
        output_dir=scratch,
        learning_rate=settings["learning_rate"],
        num_train_epochs=settings["epochs"],
        per_device_train_batch_size=settings["batch_size"],
        warmup_steps=settings["warmup"],
        lr_scheduler_type=settings["schedule"],
        weight_decay=settings["weight_decay"],
        max_grad_norm=settings["max_grad_norm"],
        activation_checkpointing=settings["activation_checkpointing"],
        bf16=has_bfloat16(),
        use_cpu=not torch.cuda.is_available(),
        seed=job.seed,
        data_seed=job.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
    )
    return kind(**(shared | own))


def epochs(settings: Mapping[str, Any], rows: int) -> float:
    """How often the rows go round: `epochs` times, or more where that makes too few steps."""
    together = settings["batch_size"] * int(os.environ.get("WORLD_SIZE", "1"))
    steps_per_epoch = math.ceil(rows / together)
    return float(max(settings["epochs"], settings["min_steps"] / steps_per_epoch))


def run(
    job: TrainJob, build: Callable[[str], Trainer], reported: Sequence[str] = ("loss",)
) -> dict[str, Any]:
    """Train what `build(scratch folder)` makes, save the adapter, return the run's numbers.

    Those are the `reported` ones of the first step and the last.
    """
    if job.out.exists():
        raise FileExistsError(
            f"{job.out} already exists, and an adapter is never overwritten. Choose a new name."
        )
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="redraft-train-") as scratch:
        trainer = build(scratch)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Report(job))
        trainer.train()
    if trainer.is_world_process_zero():
        save_adapter(trainer.model, job.out)
    first, *_, last = [entry for entry in trainer.state.log_history if "loss" in entry] * 2
    return {
        "steps": trainer.state.global_step,
        "seconds": round(time.monotonic() - started, 1),
        **{f"{name}_first": first[name] for name in reported},
        **{f"{name}_last": last[name] for name in reported},
    }


def save_adapter(model: Any, out: Path) -> None:
    """Write the adapter beside `out`, then rename: a folder named `out` is always whole."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, selected_adapters=["default"])
    part.rename(out)


def short_enough(rows: Sequence[Row], max_length: int, length: Callable[[Row], int]) -> list[Row]:
    """The rows of at most `max_length` tokens. Raises ValueError when none is left."""
    kept = [row for row in rows if length(row) <= max_length]
    if not kept:
        raise ValueError(
            f"Nothing to train on: of {len(rows)} rows, none has at most {max_length} tokens. "
            "Collect more feedback, or raise the recipe's max_length."
        )
    return kept
