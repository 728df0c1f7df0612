"""The rewriter's training: rows, split, stream, scores, and the command from data to adapter."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prompts import load_prompt
from retrain import rewriter
from retrain.guards import rewriter as guard
from retrain.rewriter import command
from retrain.rewriter_rows import (
    dialogue_of,
    example,
    is_held_out,
    reasoning,
    source_of,
    split,
    stream,
)
from retrain.rewriter_scores import insert_f1, score, score_by_source
from serve.engines.adapter_folder import verify_adapter

SAID = [
    {"role": "user", "content": "Where was Einstein born?"},
    {"role": "assistant", "content": "In Ulm."},
]


def row(number: int, source: str = "canard", **own: Any) -> dict[str, Any]:
    return {
        "id": f"{source}-{number}_2",
        "history": SAID,
        "query": f"Did he see {number}?",
        "rewrite": f"Did Einstein see {number}?",
    } | own


@pytest.mark.parametrize(
    ("name", "dialogue", "source"),
    [
        ("canard-C_3c76bfd405d2_0_2", "canard-C_3c76bfd405d2", "canard"),
        ("gecor-86_1_e", "gecor-86", "gecor"),
        ("cast20-81_6", "cast20-81", "cast"),
        ("cqr-dev207_3", "cqr-dev207", "cqr"),
        ("ikat23b-9-2_1", "ikat23b-9", "ikat"),
    ],
)
def test_an_id_tells_source_and_conversation(name: str, dialogue: str, source: str) -> None:
    assert dialogue_of({"id": name}) == dialogue
    assert source_of({"id": name}) == source


def test_rows_without_an_id_are_split_by_how_the_conversation_opens() -> None:
    first, second = row(1), row(2)
    del first["id"], second["id"]
    assert dialogue_of(first) == dialogue_of(second)
    assert source_of(first) == "own"


def test_the_split_is_by_conversation_and_stable() -> None:
    rows = [row(i, id=f"canard-{i}_{turn}") for i in range(200) for turn in range(3)]
    train, held = split([*rows, row(1, history=[])], 0.1)
    assert len(train) + len(held) == 600
    assert 30 <= len(held) <= 100
    assert not {dialogue_of(r) for r in train} & {dialogue_of(r) for r in held}
    assert is_held_out({"id": "gecor-7_1_c"}, 0.1) == is_held_out({"id": "gecor-7_9_e"}, 0.1)


def test_scarce_sources_are_seen_more_often_and_spread_evenly() -> None:
    rows = [row(i) for i in range(400)] + [row(i, "cqr") for i in range(40)]
    laid_out = stream(rows, 2.0)
    count = {name: sum(source_of(r) == name for r in laid_out) for name in ("canard", "cqr")}
    assert count == {"canard": 800, "cqr": 240}
    half = laid_out[: len(laid_out) // 2]
    assert 90 <= sum(source_of(r) == "cqr" for r in half) <= 150
    assert stream(rows, 2.0) == laid_out != stream(rows, 2.0, seed=8)


@pytest.mark.parametrize(
    ("query", "rewrite", "said"),
    [
        ("When did he die?", "When did Einstein die?", "he → Einstein"),
        ("What is the price?", "What is the price of the lamp?", "+ of the lamp"),
        ("Thank you.", "Thank you.", "nothing to resolve"),
        ("Yes, go there", "go to Ulm", "- Yes; there → to Ulm"),
    ],
)
def test_the_reasoning_says_what_was_put_for_what(query: str, rewrite: str, said: str) -> None:
    assert reasoning(query, rewrite) == said


def test_an_example_has_the_form_that_serving_asks_in() -> None:
    made = example(load_prompt("rewrite/adapter"), row(1))
    assert [m["role"] for m in made["prompt"]] == ["system", "user"]
    assert made["prompt"][1]["content"] == (
        "Q: Where was Einstein born?\nA: In Ulm.\n=> Did he see 1?"
    )
    assert made["completion"][0]["content"] == "Did Einstein see 1? #### he → Einstein"


def test_a_long_history_keeps_its_opening_and_its_end() -> None:
    history = [{"role": "user", "content": f"question {i} " + "word " * 200} for i in range(30)]
    text = example(load_prompt("rewrite/adapter"), row(1, history=history))["prompt"][1]["content"]
    lines = text.splitlines()
    assert [line[:14] for line in lines[:2]] == ["Q: question 0 ", "Q: question 25"]
    assert len(lines) == 7 and max(map(len, lines)) < 250


def test_insert_f1_counts_what_was_put_in() -> None:
    query, person = "When did he die?", "When did Albert Einstein die?"
    assert insert_f1(query, person, person) == 1
    assert insert_f1(query, query, person) == 0
    assert insert_f1(query, "When did Einstein die?", person) == pytest.approx(2 / 3)
    assert insert_f1("它多大？", "西湖多大？", "西湖多大？") == 1


def test_scores_by_source() -> None:
    rows = [row(1), row(2, "cqr"), row(3, "cqr", rewrite="did he see 3")]
    found = score_by_source(rows, [rows[0]["rewrite"], rows[1]["query"], rows[2]["query"]])
    assert found["canard"] == {"rows": 1, "insert_f1": 1.0, "exact": 1.0, "kept": None}
    assert found["cqr"] == {"rows": 2, "insert_f1": 0.0, "exact": 0.5, "kept": 1.0}
    assert found["all"]["insert_f1"] == 0.5
    assert score([], [])["exact"] is None


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(rewriter, "FIXED", {**rewriter.FIXED, "max_length": 2048})

    def run(*options: str) -> Result:
        short = ["--model", str(tiny_model), "--epochs", "1", "--scored", "1"]
        return CliRunner().invoke(command, [*short, *options])

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    rows = [row(i) for i in range(10)] + [row(99, history=[])]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return file


@pytest.mark.slow
def test_data_becomes_an_adapter_with_its_manifest(
    run: Callable[..., Result], data: Path, tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "made"
    done = run("--data", str(data), "--out", str(out), "--rank", "4", "--heldout", "0.4")
    assert done.exit_code == 0, done.output
    manifest = verify_adapter("made", out, str(tiny_model))
    assert manifest["adapter"].startswith("rewriter-")
    assert manifest["prompt_hash"] == load_prompt("rewrite/adapter").hash
    assert manifest["rows"]["train"] + manifest["rows"]["heldout"] == 10
    assert manifest["settings"]["rank"] == 4
    assert set(manifest["files"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert manifest["scores"]["all"]["rows"] == 1
    assert manifest["adapter"] in done.output
    assert list((tmp_path / "home" / "rewriters").iterdir()) == []  # no part is left behind
    again = run("--data", str(data), "--out", str(out))
    assert again.exit_code == 1 and "never overwritten" in again.output


def test_a_stopped_training_goes_on(
    run: Callable[..., Result], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrain.trainers import sft

    monkeypatch.setattr(rewriter, "PART", 6)
    starts: list[Path | None] = []
    train = sft.train

    def stopping(job: Any) -> dict[str, Any]:
        starts.append(job.start)
        if len(starts) == 2:
            raise KeyboardInterrupt
        return train(job)

    monkeypatch.setattr(sft, "train", stopping)
    assert run("--data", str(data)).exit_code != 0
    done = run("--data", str(data))
    assert done.exit_code == 0, done.output
    assert starts[0] is None and starts[1] == starts[2] is not None  # the first part stayed
    made = [p for p in (tmp_path / "home" / "rewriters").iterdir() if p.is_dir()]
    assert len(made) == 1 and made[0].name.startswith("rewriter-")


@pytest.mark.slow
def test_a_training_goes_on_from_an_adapter_and_says_so(
    run: Callable[..., Result], data: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("--data", str(data), "--out", str(first), "--heldout", "0").exit_code == 0
    done = run("--data", str(data), "--out", str(second), "--start", str(first), "--heldout", "0")
    assert done.exit_code == 0, done.output
    before, after = (json.loads((f / "manifest.json").read_text()) for f in (first, second))
    assert after["start"]["adapter"] == before["adapter"] != after["adapter"]
    assert after["start"]["sha256"] == before["files"]["adapter_model.safetensors"]
    assert after["guard"]["name"] == "rewriter" and after["guard"]["held"]
    refused = run("--data", str(data), "--start", str(tmp_path))
    assert refused.exit_code == 1 and "adapter's folder" in refused.output


def test_one_that_is_worse_than_its_start_is_not_published(
    run: Callable[..., Result], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    assert run("--data", str(data), "--out", str(first), "--heldout", "0").exit_code == 0
    monkeypatch.setattr(
        guard, "_mean", lambda bench, adapter: {"start": 0.8, "rewriter": 0.6}[adapter]
    )
    worse = run("--data", str(data), "--start", str(first), "--heldout", "0")
    assert worse.exit_code == 1 and "rewrites score 0.600" in worse.output
    made = tmp_path / "home" / "rewriters"
    assert not [path for path in made.iterdir() if path.name.startswith("rewriter-")]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"query": "a", "rewrite": "b"}',
        '{"history": [], "query": "a", "rewrite": " "}',
        '{"history": ["x"], "query": "a", "rewrite": "b"}',
        '{"history": [{"role": "user", "content": 1}], "query": "a", "rewrite": "b"}',
        '{"history": [], "query": "only without a history", "rewrite": "b"}',
        "",
    ],
)
def test_broken_data_is_refused_by_name(
    run: Callable[..., Result], tmp_path: Path, line: str
) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text(line + "\n", encoding="utf-8")
    done = run("--data", str(file))
    assert done.exit_code == 1
    assert "broken.jsonl" in done.output or "No row with a history" in done.output
    assert "Traceback" not in done.output
