"""What a cycle costs beside a plain TRL script that trains on the same pairs in the same run."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from serve.engines.builtin import model_source
from simulated import Figure, World
from simulated.drafts import PEOPLE
from simulated.server import ROOT
from simulated.wishes import Comparer, compare

COMPARISONS = 60
GOAL = 1.15
MODEL = "smollm2-135m"
PLAIN = Path(__file__).with_name("_plain_trl.py")


class Peak:
    """The most memory, in bytes, that processes with a word in their command line ever had."""

    def __init__(self, word: str) -> None:
        self.word, self.most, self._over = word, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            for process in psutil.process_iter(["cmdline"]):
                if self.word in (process.info["cmdline"] or []):
                    try:
                        self.most = max(self.most, process.memory_info().rss)
                    except psutil.Error:
                        continue  # it ended between two looks


def run(world: World) -> Iterator[Figure]:
    """One cycle of comparisons; then the script on the pairs that the cycle trained on."""
    people = [Comparer(user) for user in PEOPLE]
    with world.server("cost", min_rows=12) as server:
        compare(server, world.prompts[:COMPARISONS], people, seed=9000)
        with Peak("retrain.loop") as ours:
            ran = server.retrain()
        world.tell(ran["message"])
        folder = server.home / "runs" / ran["id"]
    (stage,) = json.loads((folder / "train" / "manifest.json").read_text())["stages"]
    trained: dict[str, Any] = stage["result"]
    with Peak(str(PLAIN)) as theirs:
        plain, whole = timed(lambda: script(world, folder, trained["steps"]))
    yield Figure(
        "cost: pairs, steps, tokens", f"{trained['rows']}, {trained['steps']}, {plain['tokens']}"
    )
    yield against("training, model loaded and adapter saved", trained["seconds"], plain["seconds"])
    yield Figure(
        "cost: the whole cycle (snapshot, curation, training, evaluation, guards, swap)",
        f"{ran['seconds'] / whole:.2f} times ({ran['seconds']:.0f} s against {whole:.0f} s)",
    )
    yield Figure(
        "cost: peak memory", f"{ours.most >> 20} MB against {theirs.most >> 20} MB for the script"
    )


def script(world: World, folder: Path, steps: int) -> dict[str, Any]:
    """What the plain script tells."""
    pairs, out = folder / "recipe" / "1-dpo.jsonl", world.folder / "plain"
    command = [
        sys.executable,
        str(PLAIN),
        model_source(MODEL, folder.parents[1]),
        str(pairs),
        str(out),
    ]
    done = subprocess.run([*command, str(steps)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The plain script failed:\n{done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def timed(work: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], float]:
    """What it returns, and the seconds it took."""
    begun = time.monotonic()
    return work(), time.monotonic() - begun


def against(what: str, ours: float, theirs: float) -> Figure:
    """Seconds beside seconds; more than GOAL times is too much."""
    ratio = ours / theirs
    seen = f"{ratio:.2f} times ({ours:.0f} s against {theirs:.0f} s)"
    return Figure(f"cost: {what}", seen, f"≤ {GOAL}", ratio <= GOAL)
