"""The rewriter: what it asks, what it accepts, and every way back to the user's own words."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from prompts import load_prompt
from serve.engines.adapter_folder import verify_adapter
from serve.engines.base import Chunk, EngineError, Sampling
from serve.engines.echo import EchoEngine
from serve.turn.rewriting import adapters
from serve.turn.rewriting.adapters import adapter_name, find_adapter
from serve.turn.rewriting.checks import find_fault
from serve.turn.rewriting.rewriter import Rewriter, load_prompts, open_rewriter

HISTORY = [
    {"role": "user", "content": "Where was Albert Einstein born?"},
    {"role": "assistant", "content": "Albert Einstein was born in Ulm in 1879."},
]
CHINESE = [
    {"role": "user", "content": "西湖在哪里？"},
    {"role": "assistant", "content": "西湖在杭州。"},
]
QUERY = "When did he die?"
GOOD = "When did Albert Einstein die?"


class Scripted(EchoEngine):
    """Answers with a text, slowly or brokenly if told to, honours stop strings, and remembers."""

    def __init__(self, answer: str, pause: float = 0.0, error: Exception | None = None) -> None:
        super().__init__("scripted")
        self.answer, self.pause, self.error = answer, pause, error
        self.asked: list[tuple[str, Sampling, str | None]] = []
        self.closed = threading.Event()

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        self.asked.append((self.decode(prompt_ids), sampling, adapter))
        text = self.answer
        for stop in sampling.stop:
            text = text.partition(stop)[0]
        try:
            for word in text.split(" ")[: sampling.max_tokens]:
                time.sleep(self.pause)
                yield Chunk(0, f"{word} ")
            if self.error:
                raise self.error
            cut = len(text.split(" ")) > sampling.max_tokens
            yield Chunk(0, finish_reason="length" if cut else "stop")
        finally:
            self.closed.set()


def rewriter(answer: str = GOOD, adapter: str | None = "r", **how: Any) -> Rewriter:
    return Rewriter(Scripted(answer, **how), adapter, load_prompts(), budget_seconds=5)


def test_a_follow_up_is_rewritten() -> None:
    said = rewriter().rewrite(HISTORY, QUERY)
    assert (said.query, said.rewritten_query, said.changed) == (QUERY, GOOD, True)
    assert said.fallback is None
    assert "he" in said.reason
    assert said.seconds >= 0


def test_the_reasoning_is_not_written_unless_asked_for() -> None:
    maker = rewriter(f"{GOOD} #### he → Albert Einstein")
    assert maker.rewrite(HISTORY, QUERY).rewritten_query == GOOD
    said = maker.rewrite(HISTORY, QUERY, reason=True)
    assert (said.rewritten_query, said.reason) == (GOOD, "he → Albert Einstein")
    (_, free, _), (_, whole, _) = maker.engine.asked  # type: ignore[attr-defined]
    assert (free.stop, whole.stop) == (("####",), ())
    assert free.temperature == whole.temperature == 0.0
    assert free.max_tokens < whole.max_tokens


def test_nothing_is_asked_of_the_engine_where_nothing_is_to_resolve() -> None:
    maker = rewriter("nonsense")
    for history, query in (([], QUERY), (HISTORY, "Thank you, goodbye."), (HISTORY, "?")):
        said = maker.rewrite(history, query)
        assert (said.rewritten_query, said.changed, said.fallback) == (query, False, None)
    assert maker.engine.asked == []  # type: ignore[attr-defined]


def test_the_same_words_are_no_change() -> None:
    said = rewriter(f" {QUERY} ").rewrite(HISTORY, f"{QUERY} ")
    assert (said.rewritten_query, said.changed, said.fallback) == (f"{QUERY} ", False, None)


@pytest.mark.parametrize(
    ("adapter", "history", "query", "mark"),
    [
        ("r", HISTORY, QUERY, "Rewrite"),
        (None, HISTORY, QUERY, "You rewrite the user's last message"),
        (None, CHINESE, "它有多大？", "你把用户的最后一句话"),
    ],
)
def test_the_prompt_follows_adapter_and_language(
    adapter: str | None, history: list[dict[str, str]], query: str, mark: str
) -> None:
    maker = rewriter(adapter=adapter)
    maker.rewrite(history, query)
    prompt, _, used = maker.engine.asked[0]  # type: ignore[attr-defined]
    system, user = json.loads(prompt)
    assert used == adapter
    assert system["role"] == "system" and system["content"].startswith(mark)
    assert query in user["content"] and history[0]["content"] in user["content"]


def test_chinese_is_rewritten() -> None:
    said = rewriter("西湖有多大？ #### “它”指西湖", adapter=None).rewrite(CHINESE, "它有多大？")
    assert (said.rewritten_query, said.changed) == ("西湖有多大？", True)


FAULTS = [
    (QUERY, "", "empty"),
    (QUERY, " #### he is Einstein", "empty"),
    (QUERY, "When did Einstein die? <|im_end|>", "marks"),
    (QUERY, "assistant: He died in 1955.", "marks"),
    (QUERY, "When did Einstein die?\nHe died in Princeton.", "one line"),
    (QUERY, "When did " + "the very famous old man from a town called Ulm or so " * 4, "too long"),
    (QUERY, "When did he die when did he die when did he die when did he die", "repeated"),
    (QUERY, "Albert Einstein died in Ulm.", "answered"),
    (QUERY, "Sure, when did he die, you ask?", "answered"),
    (QUERY, "When did Albert Einstein die in 1955?", "made up 1955"),
    (QUERY, "When did Marie Curie die?", "made up Marie"),
    (QUERY, "爱因斯坦什么时候去世的？", "language"),
    ("Was he older than Niels Bohr?", "Was Albert Einstein older?", "lost the name Niels"),
    ("Did he publish in 1905?", "Did Albert Einstein publish?", "lost the number 1905"),
    ("Did he like playing violin music?", "Did Albert Einstein?", "lost what"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "answer", "why"), FAULTS)
def test_a_bad_rewrite_leaves_the_users_words(query: str, answer: str, why: str) -> None:
    said = rewriter(answer).rewrite(HISTORY, query)
    assert (said.rewritten_query, said.changed) == (query, False)
    assert said.fallback is not None and why in said.fallback


@pytest.mark.parametrize(
    ("query", "answer", "why"),
    [
        ("它有多大？", "How large is West Lake?", "language"),
        ("它有多大？", "西湖在杭州。", "answered"),
        ("《白蛇传》是在那里拍的吗？", "这部电影是在西湖拍的吗？", "lost the name 白蛇传"),
        ("那里2024年冷吗？", "西湖冷吗？", "lost the number 2024"),
        ("它有多大？", "西湖" * 60 + "？", "too long"),
        ("它有多大？", "它有多大它有多大它有多大它有多大？", "repeated"),
    ],
)
def test_a_bad_chinese_rewrite_leaves_the_users_words(query: str, answer: str, why: str) -> None:
    said = rewriter(answer).rewrite(CHINESE, query)
    assert said.rewritten_query == query
    assert said.fallback is not None and why in said.fallback


@pytest.mark.parametrize(
    ("query", "rewrite"),
    [
        ("How about his brother's house?", "How about Albert Einstein's brother's house?"),
        ("WHEN DID HE DIE?", "WHEN DID ALBERT EINSTEIN DIE?"),
        ("Ulm", "Was Albert Einstein born in Ulm?"),
        ("I don't care about it.", "I don't care about Ulm."),
        ("Is user: a word in it?", "Is user: a word in Ulm?"),
        ("وأين مات؟", "وأين مات أينشتاين؟"),
        ("😀 where is it?", "😀 where is Ulm?"),
    ],
)
def test_good_rewrites_have_no_fault(query: str, rewrite: str) -> None:
    assert find_fault(HISTORY, query, rewrite) is None


@pytest.mark.parametrize("error", [EngineError("no memory"), RuntimeError("boom")])
def test_an_engine_that_raises_costs_nothing_but_the_rewrite(error: Exception) -> None:
    said = rewriter(error=error).rewrite(HISTORY, QUERY)
    assert said.rewritten_query == QUERY
    assert said.fallback is not None and said.fallback.startswith("the engine")


def test_an_adapter_that_is_not_loaded_costs_nothing_but_the_rewrite() -> None:
    said = Rewriter(EchoEngine("m"), "gone", load_prompts(), 5).rewrite(HISTORY, QUERY)
    assert said.rewritten_query == QUERY
    assert said.fallback is not None and "gone" in said.fallback


def test_a_slow_engine_is_closed_at_the_end_of_the_budget() -> None:
    maker = rewriter("When did Albert Einstein die? " * 3, pause=0.3)
    maker.budget_seconds = 0.12
    said = maker.rewrite(HISTORY, QUERY)
    assert said.fallback == "it took longer than 0.12 s"
    assert said.seconds < 3  # the whole answer would take 5
    assert maker.engine.closed.wait(5)  # type: ignore[attr-defined]


def test_an_engine_that_hangs_does_not_hold_the_turn() -> None:
    maker = rewriter(pause=10.0)
    maker.budget_seconds = 0.05
    said = maker.rewrite(HISTORY, QUERY)
    assert said.rewritten_query == QUERY and said.seconds < 5


def test_reasoning_that_runs_out_of_time_is_cut_and_the_rewrite_kept() -> None:
    maker = rewriter(f"{GOOD} #### " + "because " * 100, pause=0.05)
    maker.budget_seconds = 2.0
    said = maker.rewrite(HISTORY, QUERY, reason=True)
    assert (said.rewritten_query, said.fallback) == (GOOD, None)
    assert said.reason.startswith("because")


def test_a_rewrite_without_an_end_is_none() -> None:
    said = rewriter("When did Albert Einstein " + "die " * 200).rewrite(HISTORY, QUERY)
    assert said.fallback == "the rewrite found no end"


@pytest.mark.parametrize(
    "query", ["", "😀", "it " * 50_000, "\u202eit?\u202c", "что это?", "它" * 5_000, "\ud800 it?"]
)
def test_any_message_comes_back_whole(query: str) -> None:
    said = Rewriter(EchoEngine("m"), None, load_prompts(), 5).rewrite(HISTORY, query)
    assert said.rewritten_query == query


def test_a_huge_history_costs_no_time() -> None:
    huge = [{"role": "user", "content": "word " * 200_000}, *HISTORY] * 20
    maker = rewriter()
    assert maker.rewrite(huge, QUERY).changed
    assert len(maker.engine.asked[0][0]) < 3000  # type: ignore[attr-defined]


def make_adapter(folder: Path, name: str, **manifest: Any) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (path / file).write_text("{}")
    given = {"adapter": name, "base_model": "m", "prompt_hash": load_prompt("rewrite/adapter").hash}
    (path / "manifest.json").write_text(json.dumps(given | manifest))
    return path


def test_the_newest_adapter_of_the_base_model_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "SHIPPED", tmp_path / "shipped")
    assert find_adapter("m", tmp_path) is None
    shipped = make_adapter(tmp_path / "shipped", "s")
    assert find_adapter("m", tmp_path) == shipped
    make_adapter(tmp_path / "rewriters", "old", created_at="2026-01-01")
    own = make_adapter(tmp_path / "rewriters", "new", created_at="2026-02-01")
    make_adapter(tmp_path / "rewriters", "other-model", base_model="other", created_at="2027")
    make_adapter(tmp_path / "rewriters", "other-prompt", prompt_hash="0", created_at="2027")
    (tmp_path / "rewriters" / "broken").mkdir()
    (tmp_path / "rewriters" / "broken" / "manifest.json").write_text("{")
    assert find_adapter("m", tmp_path) == own
    assert adapter_name(own) == "new"


def test_opening_loads_the_adapter_once_or_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "SHIPPED", tmp_path / "shipped")
    engine = EchoEngine("m")
    assert open_rewriter(engine, tmp_path, 5).adapter_name is None
    made = make_adapter(tmp_path / "rewriters", "own")
    assert open_rewriter(engine, tmp_path, 5).adapter_name == "own"
    assert open_rewriter(engine, tmp_path, 5).adapter_name == "own"
    (made / "adapter_model.safetensors").unlink()
    assert open_rewriter(EchoEngine("m"), tmp_path, 5).adapter_name is None


def test_the_shipped_adapter_is_whole_small_and_fits_the_prompt_that_ships_with_it() -> None:
    found = find_adapter("smollm2-135m")
    assert found is not None and found.parent == adapters.SHIPPED
    manifest = verify_adapter(found.name, found, "smollm2-135m")
    assert manifest["prompt_hash"] == load_prompt("rewrite/adapter").hash
    assert "adapter_model.safetensors" in manifest["files"]
    assert sum(file.stat().st_size for file in found.iterdir()) < 11_000_000


def test_engine_echo_takes_no_shipped_adapter(tmp_path: Path) -> None:
    assert find_adapter("smollm2-135m", tmp_path) is not None
    assert open_rewriter(EchoEngine("smollm2-135m"), tmp_path, 5).adapter_name is None
