"""Answers with their conclusion first, from the engine's tokens to the trainers' and back."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient
from retrain_rows import comparison, correction, draft, rating
from test_retrain_evaluate import HELD, Arithmetic
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from feedback.database import open_database
from feedback.migrate import migrate
from feedback.reads import training_rows
from prompts.answer_first import DELIMITER, join_answer
from retrain import datasets, gate, parts, recipe, refusal, steps
from retrain.curate import curate
from retrain.evaluate.items import held_out_items
from retrain.evaluate.measure import gains as gains_of, measure
from retrain.rows import Row, unfinished
from retrain.trainers import _head, _lora, sft
from serve.api import context as contexts, create_app
from serve.engines.base import Chunk, Sampling
from serve.engines.echo import EchoEngine
from serve.engines.text import TextStream
from serve.settings import Settings, load_settings

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MERGES = [("#", "#"), ("##", "##"), ("Ġ", "####"), ("####", "Ċ"), ("4", "2")]
END = "<|im_end|>"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Bytes, and merges that give the delimiter three ways to be written in."""
    alphabet = ["<|pad|>", "<|im_start|>", END, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {token: i for i, token in enumerate(alphabet + [a + b for a, b in MERGES])}
    raw = Tokenizer(models.BPE(vocabulary, MERGES))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(alphabet[:3])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|pad|>", eos_token=END, chat_template=TEMPLATE
    )


class Scripted(EchoEngine):
    """Writes given tokens of a real vocabulary, and remembers the prompts that it saw."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__("m")
        self.tokenizer, self.script, self.prompts = tokenizer, [1], []  # type: ignore[var-annotated]

    def encode_chat(self, messages: Sequence[Any], tools: Sequence[Any] = ()) -> list[int]:
        ids = _lora.encode_prompt(self.tokenizer, messages)
        self.chat = len(ids)
        return ids

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        self.prompts.append(list(prompt_ids))
        stream = TextStream(self.decode, sampling.stop)
        for token in self.script[len(prompt_ids) - self.chat :]:
            text = "" if token == self.tokenizer.eos_token_id else stream.push(token)
            ends = token == self.tokenizer.eos_token_id or bool(stream.stopped_by)
            text += stream.finish() if ends else ""
            reason = "stop" if ends else None
            yield Chunk(0, text, (token,), (-1.0,), (), reason, stream.stopped_by)
            if ends:
                return


@pytest.fixture(scope="module")
def engine(tokenizer: Any) -> Scripted:
    return Scripted(tokenizer)


@pytest.fixture(scope="module")
def here(engine: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[contexts.Context]:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo", holdout_share=0.0)
    database = open_database(settings.database_url)
    migrate(database)
    database.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contexts, "open_engine", lambda *_: engine)
        context = contexts.open_context(settings)
    yield context
    context.database.close()


@pytest.fixture(scope="module")
def api(here: contexts.Context) -> FlaskClient:
    return create_app(here).test_client()


def asked(api: FlaskClient, engine: Scripted, script: list[int], reasoning: str) -> str:
    """The id of a scripted answer whose reasoning is recorded."""
    engine.script, engine.prompts = script, []
    body = {
        "model": "redraft",
        "messages": [{"role": "user", "content": "How many?"}],
        "redraft": {"reasoning": reasoning},
    }
    ours = api.post("/v1/chat/completions", json=body).json["redraft"]  # type: ignore[index]
    if url := ours["reasoning"]["continue_url"]:
        assert "[DONE]" in api.post(url).text
    return str(ours["completion_ids"][0])


def snapshot(here: contexts.Context, completion: str) -> list[Row]:
    with here.database.reading() as session:
        return [row for row in training_rows(session) if row["completion_id"] == completion]


def taught(
    api: FlaskClient, here: contexts.Context, completion: str, **verdict: Any
) -> tuple[list[Row], list[Row]]:
    """(rows, SFT examples) of one verdict on the conclusion and on the reasoning each."""
    for part in (None, "reasoning"):
        body = {"completion_id": completion, **verdict, **({"part": part} if part else {})}
        assert api.post("/v1/feedback", json=body).status_code == 201
    rows = snapshot(here, completion)
    return rows, datasets.build("sft", rows)


def encoded(tokenizer: Any, example: Row) -> tuple[list[int], list[int]]:
    prompt = _lora.encode_prompt(tokenizer, example["prompt"])
    row = sft._encode(tokenizer, example)
    assert row["input_ids"][: len(prompt)] == prompt
    assert set(row["labels"][: len(prompt)]) == {_head.IGNORED}
    return prompt, row["labels"][len(prompt) :]


@pytest.mark.parametrize("delimiter", ["####", "Ġ####", "## ##", "####Ċ", "# # # #"])
@pytest.mark.parametrize("seed", range(6))
def test_training_sees_the_tokens_that_serving_saw(
    api: FlaskClient,
    here: contexts.Context,
    engine: Scripted,
    tokenizer: Any,
    seed: int,
    delimiter: str,
) -> None:
    chance = random.Random(f"{seed}{delimiter}")
    pool = [token for token, i in tokenizer.get_vocab().items() if i > 2 and "#" not in token]
    # Drawn at random, tokens are seldom those that their own text is read as.
    one, two = (["a", *chance.choices(pool, k=chance.randint(1, 9))] for _ in range(2))
    conclusion = tokenizer.convert_tokens_to_ids([*one, *delimiter.split()])
    reasoning = tokenizer.convert_tokens_to_ids([*two, END])
    script = conclusion + reasoning
    completion = asked(api, engine, script, "on_demand")
    rows, examples = taught(api, here, completion, kind="rating", value=1)
    recorded = rows[0]["completions"][0]
    assert (recorded["stopped_by"], recorded["token_ids"]) == (DELIMITER, conclusion)
    assert recorded["reasoning"]["token_ids"] == reasoning
    assert recorded["reasoning"]["logprobs"] == [-1.0] * len(reasoning)
    assert recorded["reasoning"]["finish_reason"] == "stop"
    shown, why = examples
    assert (shown["signal"], why["signal"]) == ("thumb", "reasoning_thumb")
    assert encoded(tokenizer, shown) == (engine.prompts[0], conclusion)
    assert encoded(tokenizer, why) == (engine.prompts[1], reasoning)
    assert engine.prompts[1] == engine.prompts[0] + conclusion


@pytest.mark.parametrize("mode", ["on_demand", "always"])
def test_texts_alone_come_in_the_same_tokens(
    api: FlaskClient, here: contexts.Context, engine: Scripted, tokenizer: Any, mode: str
) -> None:
    begun = engine.encode(join_answer("It is 42.", "")[:-1])
    whole = [*engine.encode(join_answer("It is 42.", "Six times 7.")), tokenizer.eos_token_id]
    assert whole[: len(begun)] == begun
    completion = asked(api, engine, whole, mode)
    rows, _ = taught(api, here, completion, kind="rating", value=1)
    elsewhere = [steps._known_tokens(row, "another base") for row in rows]
    conclusion, reasoning = (encoded(tokenizer, e) for e in datasets.build("sft", elsewhere))
    assert conclusion == (engine.prompts[0], begun)
    assert reasoning == (engine.prompts[0] + begun, whole[len(begun) :])


def test_corrections_are_written_as_the_model_would(
    api: FlaskClient, here: contexts.Context, engine: Scripted, tokenizer: Any
) -> None:
    whole = engine.encode(join_answer("It is 41.", "Six times 7."))
    completion = asked(api, engine, [*whole, tokenizer.eos_token_id], "on_demand")
    _, (one, two) = taught(api, here, completion, kind="correction", text=" Right. ")
    prompt, said = encoded(tokenizer, one)
    assert (prompt, tokenizer.decode(said)) == (engine.prompts[0], "Right. ####")
    prompt, said = encoded(tokenizer, two)
    assert (prompt, tokenizer.decode(said)) == (engine.prompts[1], f" Right.{END}")


def first(text: str, reasoning: str | None = " why", **own: Any) -> Row:
    """A stored answer that stopped at its delimiter, every character a token."""
    made = reasoning and {
        "text": reasoning,
        "token_ids": [ord(c) for c in reasoning],
        "logprobs": [-1.0] * len(reasoning),
        "finish_reason": "stop",
    }
    ids = [ord(c) for c in text + DELIMITER]
    tokens = {"token_ids": ids, "logprobs": [-1.0] * len(ids)}
    return draft(text, **({"stopped_by": DELIMITER, "reasoning": made, **tokens} | own))


def whole(text: str, reasoning: str = " why", **own: Any) -> Row:
    """A stored answer that was written together with its reasoning."""
    made = first("", reasoning)["reasoning"] | {"token_ids": None, "logprobs": None}
    return draft(text, reasoning=made, **own)


def on_reasoning(row: Row) -> Row:
    return {**row, "payload": {**row["payload"], "part": "reasoning"}}


def shape(answer: list[Row]) -> tuple[str, str]:
    return answer[0]["content"], answer[0]["finish_reason"]


def test_verdicts_on_the_parts_stay_apart() -> None:
    c = first("42 ")
    rows = [rating(1, c, prompt="q"), on_reasoning(rating(-1, c, prompt="q"))]
    assert [e["signal"] for e in datasets.build("sft", rows)] == ["thumb"]
    rows = [rating(-1, c, prompt="q"), on_reasoning(rating(1, c, prompt="q"))]
    (example,) = datasets.build("sft", rows)
    assert example["signal"] == "reasoning_thumb"
    assert shape(example["prompt"][-1:]) == ("42 ####", parts.AT_DELIMITER)
    assert shape(example["completion"]) == (" why", "stop")
    rows = [rating(-1, c), on_reasoning(correction("whi", first("42", " whi.")))]
    assert datasets.build("preference", rows) == [], "the thumb down was on the other part"


def test_pairs_have_the_delimiter_on_both_sides() -> None:
    (pair,) = datasets.build("preference", [comparison(0, first("42 "), first("41 "))])
    assert [shape(pair[side]) for side in ("chosen", "rejected")] == [
        ("42 ####", parts.AT_DELIMITER),
        ("41 ####", parts.AT_DELIMITER),
    ]
    (pair,) = datasets.build("preference", [comparison(0, draft("It is 42."), first("41 "))])
    assert shape(pair["chosen"]) == ("It is 42. ####", parts.AT_DELIMITER)
    assert "token_ids" not in pair["chosen"][0], "they end the turn"
    assert datasets.build("preference", [comparison(0, draft("42"), first("42 "))]) == []
    cut = draft("It is for", finish_reason="length")
    (pair,) = datasets.build("preference", [comparison(0, first("42 "), cut)])
    assert shape(pair["rejected"]) == ("It is for", "length")


def test_a_corrected_conclusion_is_a_pair_where_it_differs() -> None:
    (pair,) = datasets.build("preference", [correction("43", first("42 "))])
    assert (shape(pair["chosen"])[0], shape(pair["rejected"])[0]) == ("43 ####", "42 ####")
    assert datasets.build("preference", [correction("42", first("42\n"))]) == []
    row = on_reasoning(correction("six times seven", first("42 ")))
    (pair,) = datasets.build("preference", [row])
    assert pair["signal"] == "reasoning_correction"
    assert pair["prompt"][-1]["content"] == "42 ####"
    assert (shape(pair["chosen"])[0], shape(pair["rejected"])[0]) == (" six times seven", " why")


def test_a_conclusion_is_finished_though_its_reasoning_was_cut_off() -> None:
    one, two = whole("42 ", finish_reason="length"), whole("41 ", finish_reason="length")
    row = comparison(0, one, two)
    assert not unfinished(row)
    (pair,) = datasets.build("preference", [row])
    assert shape(pair["chosen"]) == ("42 ####", parts.AT_DELIMITER)


def test_groups_are_of_drafts_whose_tokens_are_what_was_judged() -> None:
    (group,) = datasets.build("grpo", [comparison(0, first("42 "), first("41 "), whole("40 "))])
    assert [len(c["token_ids"]) for c in group["completions"]] == [7, 7]


def test_an_empty_conclusion_is_no_example() -> None:
    assert datasets.build("sft", [rating(1, first(" ")), comparison(0, first(""), "b")]) == []


def test_what_is_said_behind_a_delimiter_is_no_conclusion() -> None:
    (example,) = datasets.build("sft", [correction("43 #### as I say", first("42 "))])
    assert shape(example["completion"])[0] == "43 ####"


def test_duplicates_are_of_one_part() -> None:
    one, two = first("42 "), first("42 ")
    rows = [rating(1, c, prompt="q") for c in (one, two)]
    rows += [on_reasoning(row) for row in rows] + [
        on_reasoning(rating(1, first("42 ", " else"), prompt="q"))
    ]
    assert curate(rows, Settings(), ["duplicates"]).rows == [rows[1], rows[3], rows[4]]


def test_items_are_scored_in_the_form_that_is_trained() -> None:
    c = first("42 ")
    rows = [rating(1, c, **HELD), rating(-1, first("41 "), **HELD)]
    rows += [on_reasoning(rating(value, c, **HELD)) for value in (1, -1)]
    rows += [on_reasoning(correction("right", c, **HELD)), correction("right", c, **HELD)]
    rows += [comparison(0, c, draft("41"), **HELD)]
    items = {(item.kind, bool(item.good)): item for item in held_out_items(rows)}
    assert len(items) == len(rows)
    good = {kind: item.good[0] for (kind, up), item in items.items() if up}
    assert good["rating"].token_ids == tuple(c["token_ids"])
    assert good["reasoning_rating"].text == " why"
    assert good["reasoning_correction"].text == " right"
    assert good["correction"].text == "right ####"
    compared = items["comparison", True]
    assert compared.stop == (DELIMITER,)
    assert (compared.bad[0].text, compared.bad[0].token_ids) == ("41 ####", ())
    assert items["reasoning_rating", True].after == good["rating"]


def test_reasonings_are_scored_behind_their_conclusion() -> None:
    seen = []

    class Watching(Arithmetic):
        def score(self, prompt_ids: Any, completion_ids: Any, adapter: Any = None) -> list[float]:
            seen.append((list(prompt_ids), list(completion_ids)))
            return super().score(prompt_ids, completion_ids, adapter)

    c, engine = first("42 "), Watching()
    row = on_reasoning(correction("right", c, **HELD))
    (scored,) = measure(engine, held_out_items([row]), None, "better")
    assert scored.kind == "reasoning_correction"
    expected = engine.encode_chat(row["messages"]) + c["token_ids"], engine.encode(" right")
    assert seen == [expected] * 2


def test_thumbs_of_both_parts_are_balanced_each_on_its_own() -> None:
    rows = [rating(value, first(f"{n} "), **HELD) for n, value in enumerate([1, 1, 1, -1])]
    rows += [
        on_reasoning(rating(value, first("0 ", f" why {n}"), **HELD))
        for n, value in enumerate([1, -1, -1, -1])
    ]
    gains = gains_of(measure(Arithmetic(), held_out_items(rows), None, "damaged"))
    for kind in ("rating", "reasoning_rating"):
        assert sum(g.gain for g in gains if g.kind == kind) == pytest.approx(0)
    decision = gate.decide(gains, (), "reasoning_rating", 5, 7)
    assert "4 held-out rated reasonings were scored, 5 are needed" in gate.summary(decision)


def test_feedback_on_reasonings_alone_is_trained_and_judged_by() -> None:
    rows = [
        on_reasoning(correction(f"right {n}", first("42 "), split=split))
        for split, count in (("train", 16), ("heldout", 5))
        for n in range(count)
    ]
    train = rows[:16]
    found = {name: datasets.build(name, train) for name in datasets.names()}
    chosen = recipe.decide(found)
    assert [stage.trainer for stage in chosen.stages] == ["sft"]
    heldout = {"reasoning_correction": len(held_out_items(rows))}
    settings = Settings(min_rows=16, min_heldout=5)
    measure_of = refusal.check_supply(chosen, found, rows, heldout, settings, {})
    assert measure_of == "reasoning_correction"


@pytest.mark.parametrize(("on_the_other", "one_sided"), [(1, True), (-1, True), (None, False)])
def test_thumbs_on_one_part_do_not_make_the_other_two_sided(
    on_the_other: int | None, one_sided: bool
) -> None:
    ups = [rating(1, first(f"{n} ")) for n in range(20)]
    others = [rating(-1, first("0 "))] if on_the_other is None else []
    others += [on_reasoning(rating(on_the_other or 1, first("0 ", f" {n}"))) for n in range(20)]
    assert bool(refusal._one_sided(ups + others)) is one_sided


def test_an_answer_cut_at_a_clients_stop_string_has_no_end_to_learn(tokenizer: Any) -> None:
    """The API says "stop" of it, and of one that the model ended itself."""
    cut, ended = draft("One.", stopped_by="\n\n"), draft("Two.")
    thumbs = [rating(1, cut, prompt="q"), rating(1, ended, prompt="r")]
    up, other = (encoded(tokenizer, example)[1] for example in datasets.build("sft", thumbs))
    assert (tokenizer.decode(up), tokenizer.decode(other)) == ("One.", f"Two.{END}")
    pick = comparison(0, cut, ended)
    for name, examples in (("kto", thumbs[:1]), ("preference", [pick]), ("sft", [pick])):
        (example,) = datasets.build(name, examples)
        said = example["chosen" if name == "preference" else "completion"]
        assert shape(said) == ("One.", "length")
    assert unfinished(comparison(0, cut, draft("One", stopped_by="\n\n"))) and not unfinished(pick)


def test_a_stop_string_behind_the_delimiter_cuts_the_reasoning_alone() -> None:
    c = whole("42 ", stopped_by="\n\n")
    shown, why = datasets.build("sft", [rating(1, c), on_reasoning(rating(1, c))])
    assert shape(shown["completion"]) == ("42 ####", parts.AT_DELIMITER)
    assert shape(why["completion"]) == (" why", "length")


def test_an_answer_cut_at_a_stop_string_is_scored_without_it() -> None:
    c = draft("One.", token_ids=[79, 110, 101, 46, 10, 10], stopped_by="\n\n")
    (item,) = held_out_items([comparison(0, c, draft("Two."), **HELD)])
    assert (item.good[0].token_ids, item.good[0].finished) == ((), False)
    assert (item.bad[0].token_ids, item.bad[0].finished) == ((84, 119, 111, 46), True)
