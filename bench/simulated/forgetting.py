"""Plain general knowledge after five cycles about other things, against the base's."""

import json
from collections.abc import Iterator

from simulated import Figure, World
from simulated.facts import FACTS, teach
from simulated.server import ROOT, Server, all_at_once
from simulated.wishes import Comparer, compare

CYCLES = 5
PEOPLE = ("ada", "ben", "chi", "dan")
SUITE = ROOT / "retrain" / "guards" / "general.jsonl"
QUESTION = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
LOSS = 0.02


def run(world: World) -> Iterator[Figure]:
    """Facts and comparisons in turn, five runs; right answers preferred to wrong ones."""
    facts = [json.loads(line) for line in FACTS.read_text().splitlines()]
    with world.server("forgetting") as server:
        before = general(server, "base")
        for cycle in range(CYCLES):
            if cycle % 2:
                asked = world.prompts[40 + cycle * 80 :][:80]
                compare(server, asked, [Comparer(user) for user in PEOPLE], seed=9000 * cycle)
            else:
                teach(server, [fact for fact in facts if fact["cycle"] == cycle // 2 + 1])
            world.tell(server.retrain()["message"])
        after = general(server, "redraft")
    lost = (before - after) / before
    yield Figure(
        f"general suite after {CYCLES} cycles",
        f"{before:.1%} → {after:.1%}",
        f"at most {LOSS:.0%} lost",
        lost <= LOSS,
    )


def general(server: Server, model: str) -> float:
    """The share of the suite's questions whose right answer is likelier than the wrong one."""
    pairs = [json.loads(line) for line in SUITE.read_text().splitlines()]

    def right(pair: dict[str, str]) -> bool:
        asked = QUESTION.format(question=pair["question"])
        good, bad = (server.score(asked, pair[key], model) for key in ("answer", "wrong"))
        return good > bad

    return sum(all_at_once(right, pairs)) / len(pairs)
