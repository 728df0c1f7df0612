"""From tables of questions and answers to a promoted adapter, by the command line alone.

    python bench/cold_start.py ROWS [--general FILE] [--documents 70] [--keep FOLDER]

ROWS is JSON Lines with `doc`, `question` and `answer`, such as MedQuAD's; a document becomes a CSV
file of its questions. Documents with at least three are drawn, every third of their questions is
held out, and of the general rows those of at most 500 characters are mixed in. Printed is what the
gate found: the held-out answers' likelihood and the overlap of what candidate and base write,
closed-book, each with its interval. With --keep, all of it stays there. Other settings come from
the environment.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

FEWEST = 3  # questions of a document
LONGEST = 500  # characters of a general row: what is longer costs most of the time
STAGES = (
    ("extract", "tables"),
    ("segment",),
    ("generate", "--known"),
    ("check",),
    ("write", "--split", "question"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("--general", type=Path, help="general data, to mix in at 70 %%")
    parser.add_argument("--documents", type=int, default=70)
    parser.add_argument("--keep", type=Path, help="folder for tables, corpus and home")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.keep or Path(scratch)).absolute()
        make_tables(given.rows, folder / "tables", given.documents)
        if given.general:
            make_general(given.general, folder / "general.jsonl")
        seconds = play(folder)
        show(folder, seconds)


def make_tables(rows: Path, folder: Path, most: int) -> None:
    """A CSV file for each of `most` documents, the same ones every time."""
    asked = defaultdict(list)
    for line in rows.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        asked[row["source"], row["doc"]].append((row["question"], row["answer"]))
    told = sorted(key for key, pairs in asked.items() if len(pairs) >= FEWEST)
    folder.mkdir(parents=True)
    for source, doc in random.Random(7).sample(told, min(most, len(told))):
        name = f"{source}-{Path(doc).stem}.csv"
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("question", "answer"), *asked[source, doc]])


def make_general(rows: Path, file: Path) -> None:
    """The short ones of the rows."""
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    short = [line for line in lines if sum(map(len, json.loads(line).values())) <= LONGEST]
    file.write_text("".join(short), encoding="utf-8")


def play(folder: Path) -> dict[str, float]:
    """All commands, from tables to the verdict; gives the seconds of each."""
    general = folder / "general.jsonl"
    mixed = {"REDRAFT_REPLAY_GENERAL": str(general)} if general.exists() else {}
    environment = {
        **os.environ,
        "REDRAFT_HOME": str(folder / "home"),
        "REDRAFT_HOLDOUT_SHARE": "0.33",
        **mixed,
    }
    seconds: dict[str, float] = {}

    def timed(*command: str) -> None:
        begun = time.monotonic()
        run = [sys.executable, "-m", "serve.cli", *command]
        done = subprocess.run(run, cwd=folder, env=environment)  # sources by names that stay
        if done.returncode not in (0, 3):  # a run that the gate rejects has its figures as well
            sys.exit(f"redraft {' '.join(command)} ended with {done.returncode}")
        seconds[" ".join(command[:2])] = time.monotonic() - begun

    for stage, *options in STAGES:
        timed("corpus", stage, *options, "--into", "corpus")
    timed("retrain", "now", "--corpus", "corpus")
    return seconds


def show(folder: Path, seconds: dict[str, float]) -> None:
    (run,) = (folder / "home" / "runs").iterdir()
    report = read(run / "gate" / "report.json")
    likely, overlap = report["preference"]["corpus"], report["overlap"]
    values = {side: likely[side]["per_token"] for side in ("champion", "candidate")}
    print(f"\n{report['story']}\n")
    print("| held-out questions | | base | candidate | gain | 95 % interval | better on |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    line("log-likelihood of the answer, per token", values, report["intervals"]["corpus"])
    line("F1 of the words of a greedy answer", overlap, report["intervals"]["overlap"])
    others = overlap["others"]
    print(
        "| the same with the answers to other questions | | "
        f"{others['champion']:.3f} | {others['candidate']:.3f} | | | |"
    )
    for guard in report["guards"]:
        print(f"guard {guard['name']}: {'held' if guard['held'] else 'REGRESSED'}")
    train = read(run / "train" / "manifest.json")
    print(f"trained: {[stage['result'] for stage in train['stages']]}")
    print(f"seconds: { {name: round(took) for name, took in seconds.items()} }")


def line(name: str, values: dict[str, float], found: dict[str, Any]) -> None:
    print(
        f"| {name} | n = {found['n']} | {values['champion']:.3f} | {values['candidate']:.3f} | "
        f"{found['mean']:+.3f} | {found['low']:+.3f} to {found['high']:+.3f} | {found['wins']} |"
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
