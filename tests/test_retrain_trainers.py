"""The trainers on a random two-layer model: what they learn, what they refuse, what they leave."""

import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
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

from retrain import trainers
from retrain.job import TrainJob
from retrain.trainers import _lora, _replay, grpo

# peft 0.21.2 reads an attribute that transformers 5.23 renamed and will drop in 6.0
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

NAMES = sorted(
    path.stem for path in Path(trainers.__path__[0]).glob("*.py") if not path.stem.startswith("_")
)
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


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """A model this small only loses by threads, most of all beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
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


@pytest.fixture
def job(base: Path, tmp_path: Path) -> Job:
    def make(rows: list[Row], out: str = "adapter", **more: Any) -> TrainJob:
        settings = {
            **({"min_steps": 0} if rows and {"completion", "chosen"} & set(rows[0]) else {}),
            **({"replay": 0} if rows and "completion" in rows[0] else {}),
            **FAST,
        }
        settings.update(more.pop("settings", {}))
        return TrainJob(model=base, out=tmp_path / out, rows=rows, settings=settings, **more)

    return make


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


SFT = [
    {"prompt": user("colour?"), "completion": assistant("blue"), "weight": 1.0},
    {"prompt": user("size?"), "completion": assistant("big"), "weight": 1.0},
]
PAIRS = [
    {"prompt": user("colour?"), "chosen": assistant("blue"), "rejected": assistant("red")},
    {"prompt": user("size?"), "chosen": assistant("big"), "rejected": assistant("tiny")},
]


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
    return {"sft": lambda: SFT, "dpo": lambda: PAIRS, "grpo": lambda: groups(base)}[name]()


@pytest.mark.parametrize("name", NAMES)
def test_trainer_leaves_an_adapter_that_loads_and_differs(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    seen: list[tuple[int, int]] = []
    made = job(
        rows_for(name, base), progress=lambda step, total, numbers: seen.append((step, total))
    )
    result = trainer.train(made)
    assert seen == [(step, 8) for step in range(1, 9)]
    assert result["steps"] == 8 and result["rows"] == 2
    if name != "grpo":  # whose loss is a policy gradient's, and no measure of progress
        assert result["loss_last"] < result["loss_first"]
    assert [path.name for path in made.out.parent.iterdir()] == ["adapter"]
    assert abs(preference(base, made.out, PAIRS[0]) - preference(base, None, PAIRS[0])) > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_unknown_setting_is_refused(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    with pytest.raises(ValueError, match="'learning_rat'.*learning_rate"):
        trainer.train(job(rows_for(name, base), settings={"learning_rat": 1.0}))


@pytest.mark.parametrize("name", NAMES)
def test_setting_of_a_wrong_type_is_refused(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    with pytest.raises(ValueError, match="'rank' is '16'; it must be of type int"):
        trainer.train(job(rows_for(name, base), settings={"rank": "16"}))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_train_on_is_refused(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    with pytest.raises(ValueError, match="Nothing to"):
        trainer.train(job(rows_for(name, base), settings={"max_length": 5}))
    with pytest.raises(ValueError, match="Nothing to"):
        trainer.train(job([]))


@pytest.mark.parametrize("name", NAMES)
def test_adapter_is_never_overwritten(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    made = job(rows_for(name, base))
    made.out.mkdir()
    with pytest.raises(FileExistsError, match="never overwritten"):
        trainer.train(made)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_adapter(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    made = [job(rows_for(name, base), out=out, settings={"epochs": 2}) for out in ("one", "two")]
    for one in made:
        trainer.train(one)
    first, second = ((one.out / "adapter_model.safetensors").read_bytes() for one in made)
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on_from_the_champion(name: str, base: Path, job: Job) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    sft = importlib.import_module("retrain.trainers.sft")
    champion = job(SFT, out="champion")
    sft.train(champion)
    still = {"learning_rate": 0.0, "epochs": 1}
    candidate = job(rows_for(name, base), out="candidate", start=champion.out, settings=still)
    trainer.train(candidate)
    assert preference(base, candidate.out, PAIRS[0]) == preference(base, champion.out, PAIRS[0])


def test_dpo_takes_the_champion_as_reference(base: Path, job: Job) -> None:
    dpo = importlib.import_module("retrain.trainers.dpo")
    champion = job(PAIRS, out="champion")
    dpo.train(champion)
    margins: list[float] = []
    candidate = job(
        PAIRS,
        out="candidate",
        start=champion.out,
        progress=lambda step, total, numbers: margins.append(numbers["rewards/margins"]),
    )
    dpo.train(candidate)
    assert margins[0] == 0.0 and margins[-1] > 0.01


def test_dpo_prefers_the_chosen(base: Path, job: Job) -> None:
    made = job(PAIRS)
    importlib.import_module("retrain.trainers.dpo").train(made)
    for pair in PAIRS:
        assert preference(base, made.out, pair) > preference(base, None, pair)


def test_sft_row_of_weight_zero_teaches_nothing(base: Path, job: Job) -> None:
    """The other row is learned, to the end of its answer."""
    sft = importlib.import_module("retrain.trainers.sft")
    made = job([{**SFT[0], "weight": 0.0}, SFT[1]], settings={"epochs": 16})
    sft.train(made)
    tokenizer = _lora.open_tokenizer(base)

    def gain(row: Row) -> float:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        answer = _lora.encode_answer(tokenizer, row["completion"])
        return sum(log_probs(base, made.out, prompt, answer)) - sum(
            log_probs(base, None, prompt, answer)
        )

    assert gain(SFT[1]) > gain(SFT[0]) + 5


def test_sft_replays_the_models_own_answers(base: Path, job: Job) -> None:
    """Training moves the answers to other questions less when some are replayed."""
    sft = importlib.import_module("retrain.trainers.sft")
    tokenizer = _lora.open_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    own = _replay.own_answers(model, tokenizer, _replay.QUESTIONS[:2])
    forgotten = []
    for replay in (0, 2):
        made = job(SFT, out=f"replay-{replay}", settings={"replay": replay, "epochs": 12})
        assert sft.train(made)["replayed"] == replay
        forgotten.append(
            sum(
                sum(log_probs(base, None, *pair)) - sum(log_probs(base, made.out, *pair))
                for pair in own
            )
        )
    assert forgotten[1] < forgotten[0] / 2


@pytest.mark.parametrize("trainer", ["sft", "dpo"])
def test_a_few_rows_are_repeated_to_the_least_number_of_steps(trainer: str, job: Job) -> None:
    rows = SFT if trainer == "sft" else PAIRS
    made = job(rows, settings={"epochs": 1, "min_steps": 5})
    assert importlib.import_module(f"retrain.trainers.{trainer}").train(made)["steps"] == 5


def test_replayed_answers_are_the_greedy_ones(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    for prompt, answer in _replay.own_answers(model, tokenizer, _replay.QUESTIONS[:3]):
        with torch.no_grad():
            first = model(torch.tensor([prompt])).logits[0, -1].argmax()
        assert answer[0] == first and len(answer) <= _replay.LONGEST


def test_grpo_moves_probability_from_bad_drafts_to_good(base: Path, job: Job) -> None:
    made = job(groups(base))
    result = grpo.train(made)
    for pair in PAIRS:
        assert preference(base, made.out, pair) > preference(base, None, pair) + 1
    assert 0 < result["effective_share_last"] < result["effective_share_first"] <= 1


def test_grpo_leaves_out_groups_without_a_difference(base: Path, job: Job) -> None:
    one, two = groups(base)
    alike = {**two, "completions": [{**draft, "reward": 1.0} for draft in two["completions"]]}
    result = grpo.train(job([one, alike]))
    assert (result["rows"], result["no_difference"]) == (1, 1)
    with pytest.raises(ValueError, match="Nothing to learn"):
        grpo.train(job([alike], out="other"))


def test_grpo_scores_at_the_temperature_of_the_log(base: Path, job: Job) -> None:
    """Drafts logged by this very policy at their temperature count in full at the first step."""
    rows = groups(base, temperature=0.5)
    tokenizer = _lora.open_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    for row in rows:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        for draft in row["completions"]:
            ids = draft["token_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([prompt + ids])).logits.float()[0, len(prompt) - 1 : -1]
            scores = (logits / 0.5).log_softmax(-1)
            draft["logprobs"] = scores.gather(-1, torch.tensor(ids)[:, None])[:, 0].tolist()
    assert grpo.train(job(rows))["effective_share_first"] == pytest.approx(1.0, abs=1e-3)


def test_advantages_are_standard_scores() -> None:
    assert grpo.advantages([1, 0]) == [1.0, -1.0]
    assert grpo.advantages([2, 1, 0]) == pytest.approx([1.2247, 0, -1.2247], abs=1e-4)


def test_head_scores_completion_positions_alone(base: Path, job: Job) -> None:
    made = job(SFT)
    model = _lora.open_model(made, _lora.LORA)
    _lora.score_completions_only(model)
    sizes: list[int] = []
    model.get_output_embeddings().register_forward_pre_hook(
        lambda module, inputs: sizes.append(inputs[0].shape[0])
    )
    ids = torch.randint(3, 200, (2, 12))
    labels = ids.masked_fill(torch.arange(12) < 7, _lora.IGNORED)
    outputs = model(input_ids=ids, labels=labels, fused_lm_head=True)
    assert sizes == [10]
    plain = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
    expected = plain.gather(-1, ids[:, 1:, None])[..., 0][:, 6:]
    torch.testing.assert_close(outputs.log_probs[:, 6:], expected)
    assert outputs.log_probs[:, :6].abs().sum() == 0


def test_prompt_tokens_are_those_of_serving(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    ids = _lora.encode_prompt(tokenizer, user("hi")) + _lora.encode_answer(
        tokenizer, assistant("yo")
    )
    assert (
        tokenizer.decode(ids)
        == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>"
    )


def test_trainers_are_silent(base: Path, job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("retrain.trainers.sft").train(job(SFT))
    logging.shutdown()
    assert capfd.readouterr().out == ""


def test_cut_off_answer_gets_no_end_of_turn(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    whole = _lora.encode_answer(tokenizer, assistant("yo"))
    cut = [{**assistant("yo")[0], "finish_reason": "length"}]
    assert [*_lora.encode_answer(tokenizer, cut), tokenizer.eos_token_id] == whole


def test_a_prompt_that_ends_in_an_answer_is_gone_on_with(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    begun = {**assistant("42 ####")[0], "finish_reason": "delimiter"}
    ids = _lora.encode_prompt(tokenizer, [*user("hi"), begun])
    assert tokenizer.decode(ids) == (
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n42 ####"
    )
    logged = {**begun, "token_ids": [7, 8, 9]}
    prompt = _lora.encode_prompt(tokenizer, user("hi"))
    assert _lora.encode_prompt(tokenizer, [*user("hi"), logged]) == [*prompt, 7, 8, 9]
    assert _lora.encode_answer(tokenizer, [logged]) == [7, 8, 9]


def test_a_reasoning_is_learned_behind_its_conclusion(base: Path, job: Job) -> None:
    """Of two reasonings of one question, each belongs to the conclusion that it was taught with."""
    rows = []
    for conclusion, reasoning in (("1 ####", " one"), ("2 ####", " two")):
        begun = {**assistant(conclusion)[0], "finish_reason": "delimiter"}
        rows.append({"prompt": [*user("n?"), begun], "completion": assistant(reasoning)})
    made = job(rows, settings={"epochs": 40})
    importlib.import_module("retrain.trainers.sft").train(made)
    tokenizer = _lora.open_tokenizer(base)
    for row, other in (rows, rows[::-1]):
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        own, swapped = (
            sum(log_probs(base, made.out, prompt, _lora.encode_answer(tokenizer, r["completion"])))
            for r in (row, other)
        )
        assert own > swapped


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    assert list(inspect.signature(trainer.train).parameters) == ["job"]
    assert {"learning_rate", "epochs", "batch_size", "max_length"} <= set(trainer.DEFAULTS)
    assert trainer.train.__doc__ and trainer.__doc__
