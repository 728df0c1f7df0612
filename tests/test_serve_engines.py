"""One contract for every engine in the folder, and what is particular to each."""

import importlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import torch
from api_context import open_here
from conftest import wait_until
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file
from werkzeug.serving import make_server

from serve.api import create_app
from serve.commands.up import _runs_vllm
from serve.engines import engine_names, open_engine, open_judging, resolve, says
from serve.engines.base import (
    QUIET,
    AdapterError,
    Chunk,
    Constraining,
    Engine,
    EngineError,
    Options,
    Ranking,
    Sampling,
    Unsupported,
)
from serve.engines.text import StopText, TextStream
from serve.engines.turns import FairLock
from serve.local_vllm import ADAPTERS
from serve.settings import Settings, load_settings

ASK = [{"role": "user", "content": "/count 12"}]
# What an engine cannot do. It must say so, which is tested in place of the doing.
CANNOT = {"openai": {"adapters", "logprobs", "rank", "score", "tools"}}
ENGINES = [
    pytest.param(name, marks=pytest.mark.vllm if name == "vllm" else ()) for name in engine_names()
]


@pytest.fixture(scope="module")
def upstream(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with OpenAI's API for engine `openai`: ours, over engine echo."""
    home = tmp_path_factory.mktemp("upstream")
    settings = load_settings(home=home, engine="echo", model=str(tiny_model), rewrite="off")
    with open_here(settings) as here:
        server = make_server("127.0.0.1", 0, create_app(here), threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.port}/v1"
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[Engine]:
    options = Options()
    if request.param == "openai":
        options = Options(url=request.getfixturevalue("upstream"))
    elif request.param == "vllm":
        options = Options(vllm_port=request.getfixturevalue("vllm_port"))
    opened = open_engine(request.param, str(tiny_model), tiny_model.parent, options)
    yield opened
    opened.close()


def cannot(engine: Engine, what: str) -> bool:
    return what in CANNOT.get(engine.name, ())


def able_to(what: str) -> pytest.MarkDecorator:
    """For the engines that can do it; what the others say of it is a test of its own."""
    able = [each for each in ENGINES if what not in CANNOT.get(str(each.values[0]), ())]
    return pytest.mark.parametrize("engine", able, indirect=True)


def write(engine: Engine, adapter: str | None = None, **sampling: object) -> list[Chunk]:
    settings = Sampling(**{"max_tokens": 12, "seed": 3, **sampling})
    return said(engine.generate(engine.encode_chat(ASK), settings, adapter))


def said(chunks: Iterator[Chunk]) -> list[Chunk]:
    """What has a part in the answer: on a busy machine nothing may come for a while."""
    return [chunk for chunk in chunks if chunk is not QUIET]


def text_of(chunks: Sequence[Chunk], draft: int = 0) -> str:
    return "".join(c.text for c in chunks if c.draft == draft)


def ids_of(chunks: Sequence[Chunk], draft: int = 0) -> list[int]:
    return [i for c in chunks if c.draft == draft for i in c.token_ids]


def test_text_is_the_tokens_text(engine: Engine) -> None:
    chunks = write(engine)
    # Half a character at the end is no text.
    assert text_of(chunks) == engine.decode(ids_of(chunks)).rstrip("\ufffd")
    assert 0 < len(ids_of(chunks)) <= 12


def test_every_token_has_the_samplers_logprob(engine: Engine) -> None:
    if cannot(engine, "logprobs"):
        assert all(c.private and not c.logprobs for c in write(engine))
        with pytest.raises(Unsupported, match="no log-probabilities"):
            write(engine, logprobs=True)
        return
    for chunk in write(engine, temperature=0.8, logprobs=True):
        assert len(chunk.token_ids) == len(chunk.logprobs) and not chunk.private
        assert all(value <= 0 for value in chunk.logprobs)


def test_each_draft_ends_once_with_a_reason(engine: Engine) -> None:
    chunks = write(engine, n=3)
    for draft in range(3):
        ends = [c.finish_reason for c in chunks if c.draft == draft and c.finish_reason]
        assert ends in (["stop"], ["length"])
        assert next(c for c in reversed(chunks) if c.draft == draft).finish_reason


def test_a_seed_repeats_and_drafts_differ(engine: Engine) -> None:
    first, again = write(engine, n=2, temperature=1.0), write(engine, n=2, temperature=1.0)
    assert [ids_of(first, d) for d in (0, 1)] == [ids_of(again, d) for d in (0, 1)]
    longer = write(engine, n=2, temperature=1.0, max_tokens=60)
    assert ids_of(longer, 0) != ids_of(longer, 1)


def test_a_stop_string_is_not_shown(engine: Engine) -> None:
    whole = text_of(write(engine, max_tokens=40))
    stop = whole[5:7]
    stopped = write(engine, max_tokens=40, stop=(stop,))
    assert text_of(stopped) == whole[: whole.index(stop)]
    assert (stopped[-1].finish_reason, stopped[-1].stopped_by) == ("stop", stop)


def test_closing_stops_the_generation(engine: Engine) -> None:
    chunks = engine.generate(engine.encode_chat(ASK), Sampling(max_tokens=400))
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert list(chunks) == []
    assert write(engine)  # the slot is free again


def test_top_logprobs_are_sorted_and_begin_at_the_likeliest(engine: Engine) -> None:
    if cannot(engine, "logprobs"):
        with pytest.raises(Unsupported, match="no log-probabilities"):
            write(engine, top_logprobs=4)
        return
    chunk = next(c for c in write(engine, temperature=0, top_logprobs=4) if c.token_ids)
    values = [other.logprob for other in chunk.top_logprobs[0]]
    assert len(values) == 4
    assert values == sorted(values, reverse=True)
    assert chunk.top_logprobs[0][0].token_id == chunk.token_ids[0]


def test_score_gives_one_logprob_a_token(engine: Engine) -> None:
    prompt, answer = engine.encode_chat(ASK), engine.encode("one two")
    if cannot(engine, "score"):
        with pytest.raises(Unsupported, match="cannot score"):
            engine.score(prompt, answer)
        return
    scores = engine.score(prompt, answer)
    assert len(scores) == len(answer)
    assert all(value <= 0 for value in scores)
    assert scores == engine.score(prompt, answer)
    assert engine.score(prompt, []) == []


@able_to("rank")
def test_ranks_are_scores_with_alternatives(engine: Engine) -> None:
    assert isinstance(engine, Ranking)
    prompt, answer = engine.encode_chat(ASK), engine.encode("one two")
    ranked = engine.rank(prompt, answer, 3)
    assert [r.token_id for r in ranked] == answer
    assert [r.logprob for r in ranked] == pytest.approx(engine.score(prompt, answer))
    for values in ([other.logprob for other in r.top] for r in ranked):
        assert len(values) == 3 and values == sorted(values, reverse=True)
    assert all(r.logprob <= r.top[0].logprob for r in ranked)
    assert max(prompt + answer) < engine.vocabulary_size


CHOICE = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
    "required": ["color", "sure"],
    "additionalProperties": False,
}


def test_a_schema_holds_every_draft(engine: Engine) -> None:
    assert isinstance(engine, Constraining)
    engine.check_schema(json.dumps(CHOICE))
    chunks = write(engine, n=3, max_tokens=60, temperature=1.5, schema=json.dumps(CHOICE))
    for draft in range(3):
        answer = json.loads(text_of(chunks, draft))
        assert answer["color"] in ("red", "blue") and answer["sure"] in (True, False)
        assert next(c.finish_reason for c in reversed(chunks) if c.draft == draft) == "stop"
    with pytest.raises(Unsupported, match="cannot be enforced"):
        engine.check_schema('{"type": "nothing"}')


def test_tools_are_told_or_refused(engine: Engine) -> None:
    tool = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    called = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": {"at": 1}}}
    after = [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c", "content": "12:00"},
    ]
    if cannot(engine, "tools"):
        for messages, tools in ((ASK, [tool]), (after, [])):
            with pytest.raises(Unsupported, match="Leave `tools` out"):
                engine.encode_chat(messages, tools)
        return
    assert "clock" in engine.decode(engine.encode_chat(ASK, [tool]))
    told = engine.decode(engine.encode_chat(after))  # nothing is lost without the offer
    assert "clock" in told and '"at": 1' in told and "12:00" in told


def test_a_prompt_longer_than_the_window_is_an_error(engine: Engine) -> None:
    with pytest.raises(EngineError, match="window"):
        list(engine.generate([5] * engine.context_window, Sampling()))


@pytest.mark.parametrize("engine", CANNOT, indirect=True)
def test_an_engine_without_adapters_says_so(engine: Engine, tiny_adapter: Path) -> None:
    with pytest.raises(AdapterError, match=f"engine {engine.name} takes none"):
        engine.load_adapter("a-0001-aaaaaa", tiny_adapter)
    with pytest.raises(AdapterError, match=f"engine {engine.name} takes none"):
        write(engine, "a-0001-aaaaaa")
    assert not isinstance(engine, Ranking)


@able_to("adapters")
def test_adapters_answer_under_immutable_names(engine: Engine, tiny_adapter: Path) -> None:
    assert engine.adapters() == []
    engine.load_adapter("a-0001-aaaaaa", tiny_adapter)
    try:
        assert engine.adapters() == ["a-0001-aaaaaa"]
        assert text_of(write(engine, "a-0001-aaaaaa")) != text_of(write(engine))
        with pytest.raises(AdapterError, match="already loaded"):
            engine.load_adapter("a-0001-aaaaaa", tiny_adapter)
    finally:
        engine.unload_adapter("a-0001-aaaaaa")
    with pytest.raises(AdapterError, match="not loaded"):
        write(engine, "a-0001-aaaaaa")


@able_to("adapters")
def test_a_base_answer_is_the_same_after_an_adapter_came_and_went(
    engine: Engine, tiny_adapter: Path
) -> None:
    before = write(engine)
    engine.load_adapter("a-0002-bbbbbb", tiny_adapter)
    assert ids_of(write(engine)) == ids_of(before)
    engine.unload_adapter("a-0002-bbbbbb")
    assert ids_of(write(engine)) == ids_of(before)


@able_to("adapters")
def test_unloading_lets_a_running_answer_end(engine: Engine, tiny_adapter: Path) -> None:
    engine.load_adapter("a-0003-cccccc", tiny_adapter)
    whole = text_of(write(engine, "a-0003-cccccc", max_tokens=30))
    chunks = engine.generate(
        engine.encode_chat(ASK), Sampling(max_tokens=30, seed=3), "a-0003-cccccc"
    )
    first = next(chunks)
    engine.unload_adapter("a-0003-cccccc")
    assert first.text + "".join(c.text for c in chunks) == whole


def damaged(source: Path, folder: Path, cut: int) -> Path:
    """A copy of an adapter whose weights end `cut` bytes early, under the manifest of the whole."""
    import hashlib
    import shutil

    shutil.copytree(source, folder)
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    manifest = {"files": {weights.name: hashlib.sha256(whole).hexdigest()}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    weights.write_bytes(whole[:-cut] if cut else whole)
    return folder


@able_to("adapters")
def test_a_truncated_adapter_is_refused_with_its_file(
    engine: Engine, tiny_adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match=r"damaged: adapter_model\.safetensors .* sha256"):
        engine.load_adapter("a-0004-dddddd", damaged(tiny_adapter, tmp_path / "cut", 100))
    assert "a-0004-dddddd" not in engine.adapters()


@able_to("adapters")
def test_an_adapter_of_another_base_model_is_refused(
    engine: Engine, tiny_adapter: Path, tmp_path: Path
) -> None:
    folder = damaged(tiny_adapter, tmp_path / "other", 0)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "base_model": "Qwen3-0.6B"}))
    with pytest.raises(AdapterError, match="trained on Qwen3-0.6B; this engine serves"):
        engine.load_adapter("a-0005-eeeeee", folder)


@able_to("adapters")
def test_a_text_is_scored_while_others_are_answered(engine: Engine, tiny_adapter: Path) -> None:
    engine.load_adapter("a-0007-aaaaaa", tiny_adapter)
    prompt, text = engine.encode_chat(ASK), engine.encode("one two")
    alone = engine.score(prompt, text, "a-0007-aaaaaa")
    running = [engine.generate(prompt, Sampling(max_tokens=400)) for _ in range(3)]
    for chunks in running:
        next(chunks)
    assert engine.score(prompt, text, "a-0007-aaaaaa") == pytest.approx(alone, abs=0.05)
    for chunks in running:
        next(chunks, None)  # one that drew an end has ended; none may have broken
        chunks.close()  # type: ignore[attr-defined]
    engine.unload_adapter("a-0007-aaaaaa")


@able_to("adapters")
def test_a_folder_without_weights_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"has no adapter_config\.json"):
        engine.load_adapter("a-0006-ffffff", tmp_path)


def test_transformers_sampler_logprobs_equal_the_scores(tiny_model: Path) -> None:
    engine = open_engine("transformers", str(tiny_model), tiny_model.parent)
    prompt = engine.encode_chat(ASK)
    drawn = said(engine.generate(prompt, Sampling(max_tokens=20, temperature=1.0, seed=1)))
    ids = [i for c in drawn for i in c.token_ids]
    logprobs = [value for c in drawn for value in c.logprobs]
    assert logprobs == pytest.approx(engine.score(prompt, ids), abs=0.05)  # bf16


def test_transformers_cuts_the_tail_with_top_p_and_top_k(tiny_model: Path) -> None:
    engine = open_engine("transformers", str(tiny_model), tiny_model.parent)
    prompt = engine.encode_chat(ASK)
    greedy = [c.token_ids for c in said(engine.generate(prompt, Sampling(10, temperature=0)))]
    for cut in ({"top_k": 1}, {"top_p": 1e-6}):
        sampling = Sampling(max_tokens=10, temperature=1.5, **cut)
        assert [c.token_ids for c in said(engine.generate(prompt, sampling))] == greedy


def test_transformers_penalties_change_repeated_tokens(tiny_model: Path) -> None:
    engine = open_engine("transformers", str(tiny_model), tiny_model.parent)
    prompt = engine.encode_chat(ASK)
    sampling = Sampling(max_tokens=60, temperature=0, frequency_penalty=2, presence_penalty=2)
    plain = [c.token_ids for c in engine.generate(prompt, Sampling(max_tokens=60, temperature=0))]
    punished = [c.token_ids for c in engine.generate(prompt, sampling)]
    assert len(set(punished)) > len(set(plain))


@pytest.fixture
def vllm(vllm_port: int, tiny_model: Path) -> Iterator[Engine]:
    opened = open_engine("vllm", str(tiny_model), tiny_model.parent, Options(vllm_port=vllm_port))
    yield opened
    opened.close()


@pytest.mark.vllm
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_vllm_sampler_logprobs_are_at_the_temperature(vllm: Engine, temperature: float) -> None:
    sampling = {"temperature": temperature, "max_tokens": 20, "top_logprobs": 1}
    prompt = vllm.encode_chat(ASK)
    chunks = write(vllm, **sampling)
    logprobs = [value for c in chunks for value in c.logprobs]
    scores = vllm.score(prompt, ids_of(chunks))
    if temperature == 1:
        assert logprobs == pytest.approx(scores, abs=0.01)
    else:  # a logit of the likeliest token weighs more
        tops = [top[0].logprob for c in chunks for top in c.top_logprobs]
        flat = [r.top[0].logprob for r in vllm.rank(prompt, ids_of(chunks), 1)]  # type: ignore[attr-defined]
        assert all(steep > even for steep, even in zip(tops, flat, strict=True))


@pytest.mark.vllm
@pytest.mark.parametrize("cut", [{"top_p": 0.5}, {"top_k": 3}, {"schema": json.dumps(CHOICE)}])
def test_vllm_says_no_logprobs_of_what_is_cut(vllm: Engine, cut: dict[str, object]) -> None:
    assert not any(c.logprobs for c in write(vllm, temperature=0.8, **cut))
    with pytest.raises(Unsupported, match="leave out top_p, top_k and the schema"):
        write(vllm, temperature=0.8, logprobs=True, **cut)


@pytest.mark.vllm
def test_the_base_is_the_base_beside_adapters_in_every_slot(
    vllm: Engine, tiny_adapter: Path
) -> None:
    """Without serve/vllm_start the last slot's adapter answers for the base on a CPU."""
    prompt, text = vllm.encode_chat(ASK), vllm.encode("one two")
    alone, written = vllm.score(prompt, text), ids_of(write(vllm, temperature=0))
    names = [f"a-001{slot}-dddddd" for slot in range(ADAPTERS)]
    for name in names:
        vllm.load_adapter(name, tiny_adapter)
        write(vllm, name)
    beside = [vllm.generate(prompt, Sampling(max_tokens=400), name) for name in names]
    for chunks in beside:
        next(chunks)
    assert vllm.score(prompt, text) == pytest.approx(alone, abs=1e-3)
    assert ids_of(write(vllm, temperature=0)) == written
    for chunks, name in zip(beside, names, strict=True):
        chunks.close()  # type: ignore[attr-defined]
        vllm.unload_adapter(name)


@pytest.mark.vllm
def test_vllm_refuses_an_adapter_that_changes_the_head(
    vllm: Engine, tiny_adapter: Path, tmp_path: Path
) -> None:
    folder = damaged(tiny_adapter, tmp_path / "head", 0)
    (folder / "manifest.json").unlink()
    weights = load_file(folder / "adapter_model.safetensors")
    head = {f"base_model.model.lm_head.lora_{half}.weight": torch.ones(4, 4) for half in "AB"}
    save_file(weights | head, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match=r"lm_head.*linear layers alone"):
        vllm.load_adapter("a-0008-bbbbbb", folder)


@pytest.mark.vllm
def test_a_vllm_that_forgot_an_adapter_gets_it_again(
    vllm: Engine, vllm_port: int, tiny_adapter: Path
) -> None:
    vllm.load_adapter("a-0009-cccccc", tiny_adapter)
    before = ids_of(write(vllm, "a-0009-cccccc"))
    for forget in (
        lambda: write(vllm, "a-0009-cccccc"),
        lambda: vllm.score([5], [6], "a-0009-cccccc"),
    ):
        url = f"http://127.0.0.1:{vllm_port}/v1/unload_lora_adapter"
        httpx.post(url, json={"lora_name": "a-0009-cccccc"}, trust_env=False).raise_for_status()
        forget()
    assert ids_of(write(vllm, "a-0009-cccccc")) == before
    vllm.unload_adapter("a-0009-cccccc")


def test_an_url_is_for_engines_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="engine echo runs on this machine"):
        open_engine("echo", "m", tmp_path, Options(url="http://127.0.0.1:1/v1"))


def test_a_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'no/such-model' cannot be loaded"):
        open_engine("transformers", "no/such-model", tmp_path)


def test_unknown_engines_are_named() -> None:
    with pytest.raises(
        EngineError, match=r"no engine 'gpt'. Known: echo, openai, openvino, transformers, vllm"
    ):
        open_engine("gpt", "x", Path())


@pytest.mark.parametrize(
    ("vllm", "gpu", "quantization", "fastest"),
    [
        (False, False, "none", "openvino"),
        (True, False, "none", "openvino"),
        (False, True, "none", "transformers"),
        (True, True, "none", "vllm"),
        (True, True, "int8", "transformers"),
        (True, True, "int4", "transformers"),
    ],
)
def test_auto_is_the_fastest_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, vllm: bool, gpu: bool, quantization: str, fastest: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    python = Path(sys.executable) if vllm else None
    monkeypatch.setattr("serve.engines.vllm_python.find_vllm_python", lambda: python)
    assert resolve("auto", quantization) == fastest
    assert _runs_vllm(Settings(quantization=quantization)) == (fastest == "vllm")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("serving", "judging"),
    [("openvino", "openvino"), ("transformers", "transformers"), ("vllm", "transformers")],
)
def test_adapters_are_judged_by_the_engine_that_serves_where_it_is_here(
    tiny_model: Path, serving: str, judging: str
) -> None:
    options = Options(url="http://elsewhere/v1" if serving == "vllm" else "")
    engine = open_judging(serving, str(tiny_model), tiny_model.parent, options)
    assert engine.name == judging
    engine.close()


@given(
    text=st.text(alphabet="ab#é😀", max_size=30), stop=st.sampled_from(["##", "#a", "ab#", "😀#"])
)
def test_text_stream_neither_leaks_nor_eats(text: str, stop: str) -> None:
    def decode(ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")

    stream = TextStream(decode, [stop])
    shown = ""
    for byte in text.encode():
        shown += stream.push(byte)
        assert stop not in shown
        if stream.stopped_by:
            break
    shown += stream.finish()
    assert shown == text.partition(stop)[0]
    assert stream.stopped_by == (stop if stop in text else None)


@given(
    text=st.text(alphabet="ab# é😀", max_size=40),
    cuts=st.lists(st.integers(0, 40)),
    stop=st.sampled_from(["####", "##", "#a", "ab#"]),
)
def test_any_split_of_a_text_gives_the_same_two_parts(
    text: str, cuts: list[int], stop: str
) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    stream, shown = StopText([stop]), ""
    for start, end in pairwise(edges):
        shown += stream.push(text[start:end])
    shown += stream.finish()
    assert (shown, stream.after) == (text.partition(stop)[0], text.partition(stop)[2])


def test_text_stream_keeps_long_texts_whole() -> None:
    stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"))
    text = "Grüße, 世界 😀 " * 40
    assert "".join(stream.push(b) for b in text.encode()) + stream.finish() == text


@pytest.mark.parametrize("end", range(1, 4))
def test_a_text_cut_within_a_character_ends_before_it(end: int) -> None:
    stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"))
    cut = b"ab" + "😀".encode()[:end]
    assert "".join(stream.push(b) for b in cut) + stream.finish() == "ab"


def test_the_fair_lock_serves_in_order() -> None:
    lock, order, waiting = FairLock(), [], []

    def enter(name: int) -> None:
        with lock:
            order.append(name)

    with lock:
        for name in range(5):
            thread = threading.Thread(target=enter, args=(name,))
            thread.start()
            waiting.append(thread)
            while len(lock._waiting) <= name:
                pass
    for thread in waiting:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def together(engine: Engine, prompts: list[str], **sampling: object) -> list[list[int]]:
    """The token ids of all prompts, asked at once."""
    found: list[list[int]] = [[] for _ in prompts]

    def ask(index: int) -> None:
        settings = Sampling(**{"max_tokens": 8 + 7 * index, "temperature": 0, **sampling})
        prompt = engine.encode_chat([{"role": "user", "content": prompts[index]}])
        found[index] = ids_of(list(engine.generate(prompt, settings)))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_many_at_once_get_what_each_would_get_alone(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In float32 padding changes nothing that a greedy choice could see.
    monkeypatch.setattr("serve.engines.weights.fast_dtype", lambda device: torch.float32)
    engine = open_engine("transformers", str(tiny_model), tiny_model.parent)
    prompts = ["a", "something longer than that", "b c d", "x" * 60, "q", "why?"]
    alone = [together(engine, [p], max_tokens=8 + 7 * i)[0] for i, p in enumerate(prompts)]
    assert together(engine, prompts) == alone
    assert together(engine, prompts) == alone
    engine.close()


def test_a_failing_request_breaks_alone(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine("transformers", str(tiny_model), tiny_model.parent)
    running = engine.generate(engine.encode_chat(ASK), Sampling(max_tokens=200, seed=1))
    first = next(chunk for chunk in running if chunk is not QUIET)
    with pytest.raises(IndexError):  # a token that the vocabulary does not have
        list(engine.generate([10**6], Sampling(max_tokens=5)))
    assert first.token_ids and list(running)
    engine.close()


def test_a_new_request_does_not_wait_for_a_running_one(tiny_model: Path) -> None:
    engine = open_engine("transformers", str(tiny_model), tiny_model.parent)
    long = engine.generate(engine.encode_chat(ASK), Sampling(max_tokens=450, seed=1))
    next(long)
    assert write(engine)
    decoder = engine._decoder  # type: ignore[attr-defined]
    wait_until(lambda: decoder._batches.rows == 1, 5)  # the long one goes on
    long.close()  # type: ignore[attr-defined]
    wait_until(lambda: not decoder._batches.rows, 5)  # and its row is given up
    engine.close()


def test_an_engine_says_what_it_is_without_being_imported() -> None:
    told = {
        name: (says(name, "SCRIPTED"), bool(says(name, "WEIGHTLESS"))) for name in engine_names()
    }
    assert told.pop("echo") == (True, True) and told.pop("openai") == (None, True)
    assert set(told.values()) == {(None, False)}
    assert says("no-engine", "SCRIPTED") is None and says(None, "SCRIPTED") is None
    for name in ("echo", "openai"):
        module = importlib.import_module(f"serve.engines.{name}")
        assert says(name, "WEIGHTLESS") == module.WEIGHTLESS
