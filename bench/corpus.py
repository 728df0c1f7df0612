"""A corpus in bulk: pages of HTML in flat memory, and choosing rows that cover the others.

    python bench/corpus.py [--stage read --stage choose --stage radius] [--texts FILE]

`read`: --pages pages of a site, with navigation, advertising and a table, are extracted and cut
into units, each number of pages by a process of its own, whose peak of memory is told. `choose`:
k-center-greedy picks --most of --rows rows. `radius`: how far the row that is farthest from all
that were chosen then is, against the best of --starts runs of the greedy rule that begin elsewhere,
for a tenth of as many rows. Rows are those of --texts, and, where these are too few, others that
are drawn from their words, by topics of which a few come up often.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from retrain.corpus.extract import extract
from retrain.corpus.segment import segment
from retrain.manifest import read_rows
from retrain.select import Means
from retrain.select._texts import question, wanted
from retrain.select.k_center import Vectors, choose, vectors

TEXTS = Path(__file__).parents[1] / "tests" / "corpus" / "medquad.jsonl"
IN_A_FOLDER = 1000
SECTIONS = 5
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Page {n}</title>
<style>nav {{ color: red }}</style><script>track("page {n}");</script></head><body>
<header><nav class="main-nav"><ul>{links}</ul></nav></header>
<div id="cookie-banner">We use cookies. <button>Accept all</button></div>
<div class="ad-banner">Buy now! 50 % off, only today. <a href="/x">Click here</a></div>
<main><article><h1>Patients' handbook, page {n}</h1>{sections}
<table><tr><th>Ward</th><th>Beds</th></tr>{cells}</table></article></main>
<aside class="sidebar"><h3>Related articles</h3><ul>{links}</ul></aside>
<footer>© 2026 · <a href="i.html">Imprint</a> · <a href="p.html">Privacy</a></footer></body></html>
"""
Said = tuple[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stages = ("read", "choose", "radius")
    parser.add_argument("--stage", action="append", choices=stages)
    parser.add_argument("--pages", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--most", type=int, default=5_000)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--texts", type=Path, default=TEXTS)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(read(*given.child)))
        return
    if any(count % IN_A_FOLDER for count in given.pages):
        parser.error(f"--pages goes in steps of {IN_A_FOLDER:,}: a folder each.")
    texts = [(row["question"], row["answer"]) for row in read_rows(given.texts)]
    wanted_stages = given.stage or stages
    if "read" in wanted_stages:
        tell_reading(texts, given.pages, random.Random(given.seed))
    if "choose" in wanted_stages:
        tell_choosing(rows(texts, given.rows, random.Random(given.seed)), given.most)
    if "radius" in wanted_stages:
        few = rows(texts, given.rows // 10, random.Random(given.seed))
        tell_radius(few, given.most // 10, given.starts, random.Random(given.seed))


def tell_reading(texts: list[Said], counts: list[int], chance: random.Random) -> None:
    print("| pages | MB | extract, pages/s | segment, pages/s | units | most memory, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as work:
        site = Path(work) / "site"
        size = sum(write_page(site, n, texts, chance) for n in range(max(counts)))
        for count in counts:
            part = Path(work) / f"first-{count}"
            part.mkdir()
            for folder in range(count // IN_A_FOLDER):
                (part / f"{folder:03}").symlink_to(site / f"{folder:03}")
            made = Path(work) / f"corpus-{count}"
            command = [sys.executable, __file__, "--child", str(part), str(made)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            told = json.loads(done.stdout)
            print(
                f"| {told['pages']:,} | {size * count / max(counts) / 1e6:.0f} "
                f"| {told['extract']:.0f} | {told['segment']:.0f} | {told['units']:,} "
                f"| {told['memory']:.0f} |",
                flush=True,
            )


def write_page(site: Path, n: int, texts: list[Said], chance: random.Random) -> int:
    """Write the page; gives its bytes."""
    sections = "".join(
        f"<h2>{escape(asked)}</h2><p>{escape(said)}</p><p>Seen {chance.randrange(10**6)} times.</p>"
        for asked, said in chance.sample(texts, SECTIONS)
    )
    links = "".join(f'<li><a href="{k}.html">Chapter {k}</a></li>' for k in range(30))
    cells = "".join(f"<tr><td>Ward {k}</td><td>{chance.randrange(99)}</td></tr>" for k in range(12))
    path = site / f"{n // IN_A_FOLDER:03}" / f"{n:05}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_text(PAGE.format(n=n, links=links, sections=sections, cells=cells))


def read(site: Path, folder: Path) -> dict[str, Any]:
    """Pages a second of both stages, and the most memory that this process had, in MB."""
    begin = time.perf_counter()
    pages = extract(folder, [site], None, 500)["rows"]
    middle = time.perf_counter()
    units = segment(folder)["rows"]
    speeds = {"extract": middle - begin, "segment": time.perf_counter() - middle}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {name: pages / seconds for name, seconds in speeds.items()} | {
        "pages": pages, "units": units, "memory": memory,
    }  # fmt: skip


def rows(texts: list[Said], count: int, chance: random.Random) -> list[dict[str, Any]]:
    """Rows as a run has them: the texts, then others of their words, a few topics most often."""
    said = texts[:count]
    weights = [1 / rank for rank in range(1, len(texts) + 1)]
    topics = chance.choices(texts, weights, k=count - len(said))
    said += [(drawn(asked, 8, chance), drawn(answer, 40, chance)) for asked, answer in topics]
    return [
        {"kind": "correction", "payload": {"text": answer},
         "messages": [{"role": "user", "content": asked}]}
        for asked, answer in said
    ]  # fmt: skip


def drawn(text: str, most: int, chance: random.Random) -> str:
    words = text.split()
    return " ".join(chance.sample(words, min(most, len(words))))


def tell_choosing(found: list[dict[str, Any]], most: int) -> None:
    begin = time.perf_counter()
    chosen = choose(found, most, Means())
    seconds = time.perf_counter() - begin
    assert len(set(chosen)) == most
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{most:,} of {len(found):,} rows in {seconds:.0f} s, {memory:.0f} MB")


def tell_radius(found: list[dict[str, Any]], most: int, starts: int, chance: random.Random) -> None:
    places = vectors([f"{question(row)}\n{wanted(row)}" for row in found])
    own = radius(places, choose(found, most, Means()))
    others = [greedy(places, begin, most) for begin in chance.sample(range(len(found)), starts)]
    by_lot = radius(places, chance.sample(range(len(found)), most))
    print(
        f"\nradius of {most:,} of {len(found):,}: {own:.4f}; from {starts} other beginnings "
        f"{min(others):.4f} to {max(others):.4f}, so {own / min(others) - 1:+.1%} against the "
        f"best; drawn by lot {by_lot:.4f}"
    )


def radius(places: Vectors, chosen: list[int]) -> float:
    """The distance of the row that is farthest from all that were chosen."""
    return float(1 - (places @ places[chosen].T).max(1).min())


def greedy(places: Vectors, begin: int, most: int) -> float:
    """The radius that the rule reaches when it begins with that row."""
    far = 1 - places @ places[begin]
    for _ in range(most - 1):
        far = np.minimum(far, 1 - places @ places[int(far.argmax())])
    return float(far.max())


if __name__ == "__main__":
    main()
