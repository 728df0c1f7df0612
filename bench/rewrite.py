"""How well follow-up questions are made standalone, per source, against what people wrote.

    python bench/rewrite.py DATA.jsonl… [--model MODEL] [--limit 40] [--rows raw zero-shot adapter]

DATA holds rows of {id, history, query, rewrite}; with --heldout (the default 0.1) only those
conversations are measured that `redraft retrain rewriter` never trains on, with 0 every row is.
Rows without a history are left out: nothing is asked of the rewriter there. The whole step runs as
in serving, detector and checks included. Insert-F1 is the mean over rows in which the person put a
word in; kept is the share of rows that the person left alone and the rewriter too. BLEU-4
(sacrebleu) needs the `dev` extra. `--page` resolves the follow-ups of an example conversation.
Below each table stands what the step costs: its share of the seconds of a whole turn, over --turns
rows answered greedily with their history, in at most 128 tokens, one after another. With --at-once
the table is sooner there and its seconds are those of a busy engine.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from retrain.rewriter import read_data, sample
from retrain.rewriter_rows import source_of, split
from retrain.rewriter_scores import score, tokens
from serve.engines import open_engine
from serve.engines.base import Engine, Sampling
from serve.settings import load_settings
from serve.turn.rewriting.rewriter import Rewrite, Rewriter, load_prompts, open_rewriter

Row = Mapping[str, Any]
ROOM = 1500  # tokens of a prompt
PAGE = [
    {"role": "user", "content": "How long is the Velmar lamp covered by warranty?"},
    {"role": "assistant", "content": "The Velmar lamp is covered for thirty-eight months."},
]
FOLLOW_UPS = ("Does it cover water damage?", "What does it cost?", "And in winter?", "Thanks!")


def rouge_l(given: str, person: str) -> float:
    """F1 of the longest common subsequence of tokens."""
    one, other = tokens(given), tokens(person)
    before = [0] * (len(other) + 1)
    for token in one:
        now = [0]
        for i, wanted in enumerate(other):
            now.append(before[i] + 1 if token == wanted else max(now[i], before[i + 1]))
        before = now
    return 2 * before[-1] / max(len(one) + len(other), 1)


def bleu(given: Sequence[str], person: Sequence[str]) -> float | None:
    try:
        import sacrebleu
    except ImportError:
        return None
    return float(sacrebleu.corpus_bleu(list(given), [list(person)], lowercase=True).score)


def lines(name: str, rows: Sequence[Row], said: Sequence[Rewrite]) -> list[str]:
    """A line of the table per source, and one for all."""
    found = []
    for source in [*sorted({source_of(row) for row in rows}), "all"]:
        own = [i for i, row in enumerate(rows) if source in (source_of(row), "all")]
        mine, given = [rows[i] for i in own], [said[i] for i in own]
        texts, people = [g.rewritten_query for g in given], [row["rewrite"] for row in mine]
        numbers = score(mine, texts)
        found.append(
            f"| {source} | {name} | {len(own)} | {shown(numbers['insert_f1'])} "
            f"| {shown(numbers['exact'])} | {shown(bleu(texts, people), 1)} "
            f"| {statistics.fmean(map(rouge_l, texts, people)):.2f} | {shown(numbers['kept'])} "
            f"| {statistics.median(g.seconds for g in given):.2f} "
            f"| {sum(g.fallback is not None for g in given) / len(given):.2f} |"
        )
    return found


def shown(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--model", help="the configured one when not given")
    parser.add_argument("--limit", type=int, default=40, help="rows of each source")
    parser.add_argument("--heldout", type=float, default=0.1)
    parser.add_argument("--rows", nargs="+", default=["raw", "zero-shot", "adapter"])
    parser.add_argument("--budget", type=float, default=30.0, help="seconds a question may take")
    parser.add_argument("--at-once", type=int, default=1, help="questions in the engine together")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--turns", type=int, default=2, help="rows of each source to answer too")
    parser.add_argument("--show", type=int, default=0, help="rewrites to print of each source")
    given = parser.parse_args()
    settings = load_settings(**({"model": given.model} if given.model else {}))
    engine = open_engine("transformers", settings.model, settings.home)
    trained = open_rewriter(engine, settings.home, given.budget)
    zero_shot = Rewriter(engine, None, load_prompts(), given.budget)
    if given.page:
        page(trained)
    if given.data:
        table(given, trained, zero_shot)


def page(rewriter: Rewriter) -> None:
    for query in FOLLOW_UPS:
        said = rewriter.rewrite(PAGE, query, reason=True)
        print(f"{query} -> {said.rewritten_query}  [{said.fallback or said.reason}]")


def table(given: argparse.Namespace, trained: Rewriter, zero_shot: Rewriter) -> None:
    rows = read_data(given.data)
    told = split(rows, given.heldout)[1] if given.heldout else split(rows, 1.0)[1]
    told = sample(told, given.limit)
    ways: dict[str, Callable[[Row], Rewrite]] = {
        "raw": lambda row: Rewrite(row["query"], row["query"], False, ""),
        "zero-shot": lambda row: zero_shot.rewrite(row["history"], row["query"]),
        "adapter": lambda row: trained.rewrite(row["history"], row["query"]),
    }
    print("| source | row | n | insert-F1 | exact | BLEU-4 | ROUGE-L | kept | s | fell back |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in given.rows:
        if name == "adapter" and trained.adapter_name is None:
            print(f"| – | no rewriter adapter for {trained.engine.model} | | | | | | | | |")
            continue
        started = time.monotonic()
        with ThreadPoolExecutor(given.at_once) as pool:
            said = list(pool.map(ways[name], told))
        print("\n".join(lines(name, told, said)), flush=True)
        show(told, said, given.show)
        if name != "raw" and given.turns:
            share = latency_share(trained.engine, sample(told, given.turns), ways[name])
            print(f"<!-- {name}: {share} -->")
        print(f"<!-- {name}: {time.monotonic() - started:.0f} s in all -->", flush=True)


def latency_share(engine: Engine, rows: Sequence[Row], way: Callable[[Row], Rewrite]) -> str:
    """What the rewriting step takes of whole turns, in words."""
    rewriting, answering = [], []
    for row in rows:
        said = way(row)
        asked = {"role": "user", "content": said.rewritten_query}
        prompt = engine.encode_chat([*row["history"], asked])[-ROOM:]
        started = time.monotonic()
        list(engine.generate(prompt, Sampling(max_tokens=128, temperature=0.0)))
        answering.append(time.monotonic() - started)
        rewriting.append(said.seconds)
    share = sum(rewriting) / (sum(rewriting) + sum(answering))
    return (
        f"median rewriting {statistics.median(rewriting):.2f} s, answer "
        f"{statistics.median(answering):.2f} s, {share:.0%} of the turn over {len(rows)} turns"
    )


def show(rows: Sequence[Row], said: Sequence[Rewrite], count: int) -> None:
    for source in sorted({source_of(row) for row in rows}):
        own = [(r, s) for r, s in zip(rows, said, strict=True) if source_of(r) == source]
        for row, rewrite in own[:count]:
            print(f"<!-- {source}: {row['query']!r} -> {rewrite.rewritten_query!r}")
            print(f"     person {row['rewrite']!r} fallback {rewrite.fallback} -->")


if __name__ == "__main__":
    main()
