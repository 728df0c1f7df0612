"""What holds of every trainer, on a random two-layer model: what it learns, refuses and leaves."""

import importlib
import inspect
import logging
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from trainer_jobs import PAIRS, SFT, Job, Row, log_probs, preference, rows_for, user
from transformers import AutoModelForCausalLM

from retrain import trainers
from retrain.job import TrainJob
from retrain.trainers import _lora, methods
from serve.engines.adapter_folder import kind_of

# peft 0.21.2 reads an attribute that transformers 5.23 renamed and will drop in 6.0
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

NAMES = sorted(
    path.stem for path in Path(trainers.__path__[0]).glob("*.py") if not path.stem.startswith("_")
)
POLICIES = [name for name in NAMES if name != "reward"]  # which answers nobody


@pytest.mark.parametrize("name", POLICIES)
def test_trainer_leaves_an_adapter_that_loads_and_differs(
    name: str, base: Path, job: Job, job_for: Job
) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    seen: list[tuple[str, int, int]] = []
    made = job_for(
        name, progress=lambda step, total, numbers, part="": seen.append((part, step, total))
    )
    result = trainer.train(made)
    asked = [("reference", 1, 1)] if name in ("dpo", "kto") else []
    assert seen == asked + [("", step, 8) for step in range(1, 9)]
    assert result["steps"] == 8 and result["rows"] == 2
    if "grpo" not in name:  # whose loss is a policy gradient's, and no measure of progress
        assert result["loss_last"] < result["loss_first"]
    assert [path.name for path in made.out.parent.iterdir()] == ["adapter"]
    assert abs(preference(base, made.out, PAIRS[0]) - preference(base, None, PAIRS[0])) > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_unknown_setting_is_refused(name: str, base: Path, job: Job, job_for: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    with pytest.raises(ValueError, match="'learning_rat'.*learning_rate"):
        trainer.train(job_for(name, settings={"learning_rat": 1.0}))


@pytest.mark.parametrize("name", NAMES)
def test_setting_of_a_wrong_type_is_refused(name: str, base: Path, job: Job, job_for: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    with pytest.raises(ValueError, match="'rank' is '16'; it must be of type int"):
        trainer.train(job_for(name, settings={"rank": "16"}))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_train_on_is_refused(name: str, base: Path, job: Job, job_for: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    with pytest.raises(ValueError, match="Nothing to"):
        trainer.train(job_for(name, settings={"max_length": 5}))
    with pytest.raises(ValueError, match="Nothing to"):
        trainer.train(job([]))


@pytest.mark.parametrize("name", NAMES)
def test_adapter_is_never_overwritten(name: str, base: Path, job: Job, job_for: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    made = job_for(name)
    made.out.mkdir()
    with pytest.raises(FileExistsError, match="never overwritten"):
        trainer.train(made)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_adapter(name: str, base: Path, job: Job, job_for: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    made = [job_for(name, out=out, settings={"epochs": 2}) for out in ("one", "two")]
    for one in made:
        trainer.train(one)
    first, second = ((one.out / "adapter_model.safetensors").read_bytes() for one in made)
    assert first == second


@pytest.mark.parametrize("name", POLICIES)
def test_training_goes_on_from_the_champion(name: str, base: Path, job: Job, job_for: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    sft = importlib.import_module("retrain.trainers.sft")
    champion = job(SFT, out="champion")
    sft.train(champion)
    still = {"learning_rate": 0.0, "epochs": 1}
    still |= {"max_distance": 99.0} if name == "grpo" else {}  # the base drew the drafts
    candidate = job_for(name, out="candidate", start=champion.out, settings=still)
    trainer.train(candidate)
    assert preference(base, candidate.out, PAIRS[0]) == preference(base, champion.out, PAIRS[0])


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_the_reference_is_the_champion(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    champion = job(rows_for(name, base), out="champion")
    trainer.train(champion)
    margins: list[float] = []
    candidate = job(
        rows_for(name, base),
        out="candidate",
        start=champion.out,
        progress=lambda step, total, numbers, part="": (
            part or margins.append(numbers["rewards/margins"])
        ),
    )
    trainer.train(candidate)
    assert margins[0] == pytest.approx(0.0, abs=1e-5) and margins[-1] > 0.01


def likelihood(job: TrainJob, adapter: Path, row: Row) -> float:
    """Of the row's completion, as PEFT itself computes it with the adapter."""
    tokenizer = _lora.open_tokenizer(job.model)
    prompt = _lora.encode_prompt(tokenizer, row["prompt"])
    said = _lora.encode_answer(tokenizer, row["completion"])
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter).eval()
    ids = torch.tensor([prompt + said])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    scores = logits[0, -len(said) - 1 : -1].log_softmax(-1)
    return float(scores.gather(-1, torch.tensor(said)[:, None]).sum())


@pytest.mark.parametrize("method", methods.names())
@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_every_method_learns_and_goes_on_from_its_own_adapter(
    method: str, name: str, base: Path, job: Job
) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    settings = {"method": method, "learning_rate": 2e-2, "virtual_tokens": 30}
    champion = job(rows_for(name, base), out="champion", settings=settings)
    result = trainer.train(champion)
    assert result["loss_last"] < result["loss_first"]
    assert kind_of(champion.out) == methods.find(method).KIND
    still = {**settings, "learning_rate": 0.0, "epochs": 1}
    candidate = job(rows_for(name, base), out="candidate", start=champion.out, settings=still)
    trainer.train(candidate)
    found = [likelihood(champion, made.out, SFT[0]) for made in (champion, candidate)]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_begin_as_the_opening_of_a_conversation(
    method: str, base: Path, job: Job
) -> None:
    """Untrained, they are read like the tokens that they were made of."""
    made = job(SFT, settings={"method": method, "learning_rate": 0.0, "epochs": 1})
    importlib.import_module("retrain.trainers.sft").train(made)
    tokenizer = _lora.open_tokenizer(base)
    before = _lora.encode_prompt(tokenizer, user(""))[:20]
    prompt = _lora.encode_prompt(tokenizer, SFT[0]["prompt"])
    said = _lora.encode_answer(tokenizer, SFT[0]["completion"])
    expected = sum(log_probs(base, None, before + prompt, said))
    assert likelihood(made, made.out, SFT[0]) == pytest.approx(expected, rel=0.02)


def test_adapters_of_other_kinds_are_not_gone_on_from(base: Path, job: Job) -> None:
    sft = importlib.import_module("retrain.trainers.sft")
    champion = job(SFT, out="champion", settings={"epochs": 1})
    sft.train(champion)
    with pytest.raises(ValueError, match="is of kind LORA, and method prefix makes PREFIX_TUNING"):
        sft.train(job(SFT, start=champion.out, settings={"method": "prefix"}))
    with pytest.raises(ValueError, match="Unknown PEFT method 'ia3'. Known: lora, prefix, prompt"):
        sft.train(job(SFT, settings={"method": "ia3"}))
    checkpoints = {"method": "prompt", "activation_checkpointing": True}
    with pytest.raises(ValueError, match="Virtual tokens are a cache"):
        sft.train(job(SFT, settings=checkpoints))


@pytest.mark.parametrize("trainer", ["sft", "dpo", "kto"])
def test_a_few_rows_are_repeated_to_the_least_number_of_steps(
    trainer: str, base: Path, job: Job
) -> None:
    made = job(rows_for(trainer, base), settings={"epochs": 1, "min_steps": 5})
    assert importlib.import_module(f"retrain.trainers.{trainer}").train(made)["steps"] == 5


def test_trainers_are_silent(base: Path, job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("retrain.trainers.sft").train(job(SFT))
    logging.shutdown()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    assert list(inspect.signature(trainer.train).parameters) == ["job"]
    assert {"learning_rate", "epochs", "batch_size", "max_length"} <= set(trainer.DEFAULTS)
    assert trainer.train.__doc__ and trainer.__doc__
