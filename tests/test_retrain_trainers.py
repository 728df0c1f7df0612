"""The trainers on a random two-layer model: what they learn, what they refuse, what they leave."""

import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import fields
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
from retrain.trainers import _head, _lora, _replay, grpo, kto, methods, reward, rewards
from serve.engines.adapter_folder import kind_of

# peft 0.21.2 reads an attribute that transformers 5.23 renamed and will drop in 6.0
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

NAMES = sorted(
    path.stem for path in Path(trainers.__path__[0]).glob("*.py") if not path.stem.startswith("_")
)
POLICIES = [name for name in NAMES if name != "reward"]  # which answers nobody
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
        columns = set(rows[0]) if rows else set()
        own = more.pop("settings", {})
        few = {"completion", "chosen"} & columns and "longest" not in own
        settings = {
            **({"min_steps": 0} if few else {}),
            **({"replay": 0} if "completion" in columns and "label" not in columns else {}),
            **FAST,
            **own,
        }
        return TrainJob(model=base, out=tmp_path / out, rows=rows, settings=settings, **more)

    return make


@pytest.fixture
def reward_model(job: Job) -> Path:
    made = job(PAIRS, out="reward", settings={"epochs": 4})
    reward.train(made)
    return made.out.rename(made.out.parent.parent / f"{made.out.parent.name}-reward")


@pytest.fixture
def job_for(base: Path, job: Job, request: pytest.FixtureRequest) -> Job:
    """A job for the trainer of that name, with what it needs."""

    def make(name: str, out: str = "adapter", **more: Any) -> TrainJob:
        if name == "online_grpo":
            more["reward"] = request.getfixturevalue("reward_model")
            own = {"longest": 8, "drafts": 4, "beta": 0.01}
            more["settings"] = {**own, **more.get("settings", {})}
        return job(rows_for(name, base), out, **more)

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

THUMBS = [
    {"prompt": user("colour?"), "completion": assistant("blue"), "label": True},
    {"prompt": user("size?"), "completion": assistant("tiny"), "label": False},
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
    made = {"sft": lambda: SFT, "kto": lambda: THUMBS, "grpo": lambda: groups(base)}
    return made.get(name, lambda: PAIRS)()


@pytest.mark.parametrize("name", POLICIES)
def test_trainer_leaves_an_adapter_that_loads_and_differs(
    name: str, base: Path, job: Job, job_for: Job
) -> None:
    trainer = importlib.import_module(f"retrain.trainers.{name}")
    seen: list[tuple[int, int]] = []
    made = job_for(name, progress=lambda step, total, numbers: seen.append((step, total)))
    result = trainer.train(made)
    assert seen == [(step, 8) for step in range(1, 9)]
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
        progress=lambda step, total, numbers: margins.append(numbers["rewards/margins"]),
    )
    trainer.train(candidate)
    assert margins[0] == pytest.approx(0.0, abs=1e-5) and margins[-1] > 0.01


def test_dpo_prefers_the_chosen(base: Path, job: Job) -> None:
    made = job(PAIRS)
    importlib.import_module("retrain.trainers.dpo").train(made)
    for pair in PAIRS:
        assert preference(base, made.out, pair) > preference(base, None, pair)


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


def test_dpo_is_told_how_many_pairs_are_wrong(base: Path, job: Job) -> None:
    """At the start, where policy and reference agree, the robust loss is the sigmoid's: log 2."""
    dpo = importlib.import_module("retrain.trainers.dpo")
    losses = {}
    for noise in (0.0, 0.3):
        seen: list[float] = []
        settings = {"label_noise": noise, "sft_weight": 0.0, "beta": 1.0}
        made = job(
            PAIRS,
            out=f"noise-{noise}",
            settings=settings,
            progress=lambda step, total, numbers, seen=seen: seen.append(numbers["loss"]),
        )
        dpo.train(made)
        losses[noise] = seen
    assert (
        losses[0.0][0] == pytest.approx(losses[0.3][0], abs=1e-3) == pytest.approx(0.693, abs=1e-3)
    )
    assert losses[0.3][-1] < losses[0.0][-1]  # it pays more for a margin, by 1 / (1 - 2 noise)
    with pytest.raises(ValueError, match="share of wrong pairs"):
        dpo.train(job(PAIRS, out="half", settings={"label_noise": 0.5}))


def test_a_reward_model_scores_what_was_picked_higher(base: Path, job: Job) -> None:
    made = job(PAIRS)
    result = reward.train(made)
    assert result["accuracy_last"] == 1.0
    tokenizer, scorer = _lora.open_tokenizer(base), reward.Scorer(base, made.out)
    for row in PAIRS:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        texts = [prompt + _lora.encode_answer(tokenizer, row[s]) for s in ("chosen", "rejected")]
        good, bad = scorer(texts)
        assert good > bad
        assert scorer(texts[1:]) == [pytest.approx(bad, abs=1e-5)]  # whatever stands beside it


def test_online_grpo_learns_what_its_rewards_ask_for(
    job_for: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that is easily met stands in for the reward model: odd token ids."""
    online = importlib.import_module("retrain.trainers.online_grpo")
    scores: list[float] = []

    def odd(prompts: list[list[int]], completion_ids: list[list[int]], **_: Any) -> list[float]:
        assert len(prompts) == len(completion_ids)
        return [sum(id % 2 for id in ids) / len(ids) for ids in completion_ids]

    monkeypatch.setattr(online, "_by_model", lambda scorer: odd)
    settings = {"epochs": 14, "drafts": 8, "longest": 6, "weight_reward": 9.0, "beta": 0.0}
    made = job_for(
        "online_grpo",
        settings=settings,
        progress=lambda step, total, numbers: scores.append(numbers["rewards/odd/mean"]),
    )
    online.train(made)
    assert sum(scores[:3]) / 3 < 0.6 and sum(scores[-3:]) / 3 > 0.75


@pytest.mark.parametrize(
    ("gpu", "vllm", "method", "drawn"),
    [
        (True, True, "lora", True),
        (True, True, "qlora", False),
        (True, True, "prefix", False),
        (True, False, "lora", False),
        (False, True, "lora", False),
    ],
)
def test_vllm_draws_where_it_is_and_can_take_the_policys_weights(
    gpu: bool, vllm: bool, method: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = importlib.import_module("retrain.trainers.online_grpo")
    monkeypatch.setattr(online.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(online, "is_vllm_available", lambda: vllm)
    asked = online._drawn_by_vllm({**online.DEFAULTS, "method": method}, 7)
    assert asked.get("use_vllm", False) is drawn
    assert set(asked) <= {field.name for field in fields(online.GRPOConfig)}
    assert not drawn or asked["generation_kwargs"] == {"stop_token_ids": [7]}


def test_online_grpo_refuses_to_be_gamed(job: Job, job_for: Job) -> None:
    online = importlib.import_module("retrain.trainers.online_grpo")
    with pytest.raises(ValueError, match='trainer = "reward" before it'):
        online.train(job(PAIRS, settings={"longest": 8}))
    with pytest.raises(ValueError, match="give each a weight above 0"):
        online.train(job_for("online_grpo", settings={"weight_repetition": 0.0}))


@pytest.mark.parametrize(
    ("name", "answer", "score"),
    [
        ("length", {"token_ids": [1] * 10}, 0.0),
        ("length", {"token_ids": [1] * 20}, 0.0),
        ("length", {"token_ids": [1] * 40}, -1.0),
        ("length", {"token_ids": [1] * 4}, -0.322),
        ("length", {"ended": False}, -1.0),
        ("format", {"text": "Fine."}, 0.0),
        ("format", {"text": " "}, -1.0),
        ("format", {"text": "So <|im_start|>user"}, -1.0),
        ("format", {"text": "```python\nprint(1)"}, -0.5),
        ("repetition", {"token_ids": list(range(30))}, 0.0),
        ("repetition", {"token_ids": [1, 2] * 20}, -0.932),
        ("repetition", {"token_ids": [1]}, 0.0),
    ],
)
def test_guard_rewards(name: str, answer: dict[str, Any], score: float) -> None:
    fine = {"text": "Fine.", "token_ids": [1, 2, 3], "ended": True, "usual": 10}
    found = rewards.score(name, rewards.Answer(**{**fine, **answer}))
    assert found == pytest.approx(score, abs=1e-3)


def test_every_guard_reward_is_weighed() -> None:
    online = importlib.import_module("retrain.trainers.online_grpo")
    assert {f"weight_{name}" for name in rewards.names()} < set(online.DEFAULTS)


def test_kto_moves_probability_from_disliked_answers_to_liked(base: Path, job: Job) -> None:
    made = job(THUMBS)
    result = kto.train(made)
    tokenizer = _lora.open_tokenizer(base)
    for row in THUMBS:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        said = _lora.encode_answer(tokenizer, row["completion"])
        gain = sum(log_probs(base, made.out, prompt, said)) - sum(
            log_probs(base, None, prompt, said)
        )
        assert gain > 0.5 if row["label"] else gain < -0.5
    assert (result["weight_up"], result["weight_down"]) == (1.0, 1.0)


@pytest.mark.parametrize(("ups", "downs"), [(1, 1), (4, 3), (9, 2), (2, 9), (100, 1), (1, 1)])
def test_kto_reweights_one_side_into_the_papers_range(ups: int, downs: int) -> None:
    up, down = kto.weights([True] * ups + [False] * downs)
    assert 1 <= up * ups / (down * downs) <= 4 / 3 + 1e-9
    assert min(up, down) == 1.0
    assert (up == 1.0) == (ups >= downs)


def test_kto_refuses_thumbs_of_one_direction_and_batches_of_one(job: Job) -> None:
    with pytest.raises(ValueError, match="all 2 thumbs point down"):
        kto.train(job([{**row, "label": False} for row in THUMBS]))
    with pytest.raises(ValueError, match="batch_size of 2 or more"):
        kto.train(job(THUMBS, settings={"batch_size": 1}))


def test_kto_fills_every_batch_with_both_sides_and_mismatched_answers() -> None:
    rows = [{"completion_ids": [n], "label": n % 5 == 0} for n in range(25)]
    order = kto.arranged(rows, count=60, batch=10, seed=7)
    assert len(order) == 60
    batches = [order[first : first + 10] for first in range(0, 60, 10)]
    for batch in batches:
        assert 1 <= sum(row["label"] for row in batch) <= 3
        mismatched = [row["KL_completion_ids"] for row in batch]
        assert sorted(mismatched) == sorted(row["completion_ids"] for row in batch)
        assert all(row["KL_completion_ids"] != row["completion_ids"] for row in batch)
    seen = [row["completion_ids"][0] for row in order]
    assert sorted(seen[:25]) == sorted(seen[25:50]) == list(range(25)) != seen[:25]
    assert seen[:25] != seen[25:50]


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


@pytest.mark.parametrize("trainer", ["sft", "dpo", "kto"])
def test_a_few_rows_are_repeated_to_the_least_number_of_steps(
    trainer: str, base: Path, job: Job
) -> None:
    made = job(rows_for(trainer, base), settings={"epochs": 1, "min_steps": 5})
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


def test_grpo_leaves_out_groups_whose_sampler_is_far_away(base: Path, job: Job) -> None:
    near, far = groups(base)
    for draft in far["completions"]:
        draft["logprobs"] = [value - 3 for value in draft["logprobs"]]
    alone = grpo.train(job([near]))
    result = grpo.train(job([near, far], out="both"))
    assert (alone["rows"], alone["far_away"]) == (1, 0)
    assert (result["rows"], result["far_away"], result["steps"]) == (1, 1, alone["steps"])
    assert result["distance"] == pytest.approx(alone["distance"])
    assert result["effective_share"] == pytest.approx(alone["effective_share"])
    with pytest.raises(ValueError, match="nats a token .* 1 is too far"):
        grpo.train(job([far], out="far"))
    kept = grpo.train(job([near, far], out="all", settings={"max_distance": 1e6}))
    assert (kept["rows"], kept["far_away"]) == (2, 0)


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


def test_head_scores_completion_positions_alone(
    base: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(SFT)
    model = _lora.open_model(made, _lora.LORA)
    _head.score_completions_only(model)
    sizes: list[int] = []
    plain_part = _head.Head.part

    def part(head: _head.Head, hidden: torch.Tensor, *more: Any) -> Any:
        sizes.append(len(hidden))
        return plain_part(head, hidden, *more)

    monkeypatch.setattr(_head.Head, "part", part)
    monkeypatch.setattr(_head, "AT_ONCE", 4 * model.config.vocab_size)
    ids = torch.randint(3, 200, (2, 12))
    labels = ids.masked_fill(torch.arange(12) < 7, _head.IGNORED)
    outputs = model(input_ids=ids, labels=labels, fused_lm_head=True)
    assert sizes == [4, 4, 2]
    plain = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
    expected = plain.gather(-1, ids[:, 1:, None])[..., 0][:, 6:]
    torch.testing.assert_close(outputs.log_probs[:, 6:], expected)
    assert outputs.log_probs[:, :6].abs().sum() == 0


@pytest.mark.parametrize("scale, cap", [(1.0, 0.0), (0.25, 0.0), (2.0, 3.0)])
def test_a_heads_gradient_is_that_of_plain_logits(
    scale: float, cap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_head, "AT_ONCE", 4 * 50)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(50, 8, generator=generator)
    hidden = torch.randn(10, 8, generator=generator).requires_grad_()
    targets = torch.randint(0, 50, (10,), generator=generator)
    temperature, given = torch.linspace(0.5, 1.5, 10), torch.randn(10, generator=generator)
    logits = hidden @ weight.T * scale
    logits = cap * torch.tanh(logits / cap) if cap else logits
    plain = (logits / temperature[:, None]).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    (expected,) = torch.autograd.grad(plain @ given, hidden)
    ours = _head.Head(weight, scale, cap).log_probs(hidden, targets, temperature)
    (found,) = torch.autograd.grad(ours @ given, hidden)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(found, expected)


def test_a_head_bends_logits_as_its_model_says(base: Path, job: Job) -> None:
    model = _lora.open_model(job(SFT), _lora.LORA).get_base_model()
    weight = model.get_output_embeddings().weight
    assert _head.Head.of(model) == _head.Head(weight)
    model.config.logits_scaling, model.config.final_logit_softcapping = 4.0, 30.0
    assert _head.Head.of(model) == _head.Head(weight, 0.25, 30.0)
    weight.requires_grad_()
    with pytest.raises(ValueError, match="head is trained too"):
        _head.Head.of(model)


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
