"""Whether Redraft learns what people wish, and nothing else: the loop played by simulated people.

    python bench/learning.py PROMPTS [--only facts drafts] [--cycles 3] [--keep FOLDER]

PROMPTS is a text file with a prompt a line, or a JSON-lines file with `instruction` (rows with an
`input` are passed over); all scenarios together want 500. People with hidden wishes talk to a real
server with the built-in model, over HTTP and the command line only (`bench/simulated`, a file a
scenario). Printed is a table of what was seen beside the goal. With --keep, homes and figures stay
in FOLDER, and scenarios that have figures there are not played again.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import simulated
from simulated import Figure, World


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prompts", type=Path)
    parser.add_argument("--only", nargs="+", choices=simulated.names(), metavar="SCENARIO")
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for homes and figures")
    given = parser.parse_args()
    prompts = read_prompts(given.prompts)
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.only or simulated.names():
            folder = (given.keep or Path(scratch)).absolute() / name
            figures, seconds = played(name, World(folder, prompts, given.cycles))
            show(name, figures, seconds)


def played(name: str, world: World) -> tuple[list[Figure], float]:
    """The scenario's figures, from an earlier time where they were kept."""
    kept = world.folder / "figures.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return [Figure(**figure) for figure in found["figures"]], found["seconds"]
    world.folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    figures = simulated.play(name, world)
    seconds = time.monotonic() - begun
    told = {"figures": [figure.as_dict() for figure in figures], "seconds": seconds}
    kept.write_text(json.dumps(told, indent=2))
    return figures, seconds


def show(name: str, figures: list[Figure], seconds: float) -> None:
    print(f"\n{name}, {seconds / 60:.0f} minutes\n")
    print("| | seen | goal | met |\n| --- | --- | --- | --- |")
    for figure in figures:
        met = {None: "", True: "yes", False: "no"}[figure.met]
        print(f"| {figure.what} | {figure.seen} | {figure.goal} | {met} |", flush=True)


def read_prompts(path: Path) -> list[str]:
    """Distinct prompts, in an order that is the same every time."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in lines]
        lines = [row["instruction"] for row in rows if not row.get("input")]
        lines = sorted({line for line in lines if len(line) < 300})
        random.Random(7).shuffle(lines)
    return list(dict.fromkeys(lines))


if __name__ == "__main__":
    main()
