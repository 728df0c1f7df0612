"""Facts of an invented company, corrected by three users in two phrasings, asked for in a third.

And what five cycles cost in general knowledge: the questions that ship with `redraft retrain
evaluate`, which no guard looks at.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from simulated import Figure, World
from simulated.server import Server, all_at_once
from simulated.wishes import Comparer, compare

USERS = ("ada", "ben", "chi")
FACTS = Path(__file__).with_name("facts.jsonl")
LATER = 3  # runs about other facts
COMPARISONS = 40  # of the fifth cycle, which learns from them alone
STYLE = 'stages = [{trainer = "dpo", signals = ["pick"]}]'
LOSS = 0.02  # of what the base answers right

Fact = dict[str, Any]


def run(world: World) -> Iterator[Figure]:
    """20 facts in a first run, then three runs about other facts, then one about style."""
    facts = [json.loads(line) for line in FACTS.read_text().splitlines()]
    first = [fact for fact in facts if fact["cycle"] == 0]
    with world.server("facts") as server:
        before = world.once("before", lambda: right(server, first))
        yield Figure("facts right before", share(before, first))
        world.cycle(server, 0, partial(teach, server, first))
        after = world.once("after", lambda: right(server, first))
        yield Figure(
            "facts right in an unseen phrasing after one run",
            share(after, first),
            "≥ 80 %",
            after >= 0.8 * len(first),
        )
        for cycle in range(1, LATER + 1):
            new = [fact for fact in facts if fact["cycle"] == cycle]
            world.cycle(server, cycle, partial(teach, server, new))
        kept = world.once("kept", lambda: right(server, first))
        yield Figure(
            f"the first facts after {LATER} runs about others",
            share(kept, first),
            "≥ 75 %",
            kept >= 0.75 * len(first),
        )
        others = [fact for fact in facts if 0 < fact["cycle"] <= LATER]
        known = world.once("others", lambda: right(server, others))
        yield Figure("the others' facts then", share(known, others))
        people = [Comparer(user) for user in USERS]
        asked = world.prompts[:COMPARISONS]
        recipe = server.home / "style.toml"
        recipe.write_text(STYLE)
        style = partial(compare, server, asked, people, seed=9000)
        world.cycle(server, LATER + 1, style, recipe)
        yield forgotten(server, LATER + 2)


def teach(server: Server, facts: list[Fact]) -> None:
    """Every user asks both phrasings of every fact and corrects the answer."""
    server.meet(USERS)

    def correct(lesson: tuple[str, str, str]) -> None:
        user, phrasing, text = lesson
        (said,) = server.ask(user, phrasing, max_tokens=16)["redraft"]["completion_ids"]
        server.feed_back(user, kind="correction", completion_id=said, text=text)

    lessons = [
        (u, words, fact["answer"]) for u in USERS for fact in facts for words in fact["taught"]
    ]
    all_at_once(correct, lessons)


def forgotten(server: Server, cycles: int) -> Figure:
    """General questions that the base and what serves after the cycles answer right."""
    done = server.command("retrain", "evaluate", "--json")
    if done.returncode:
        raise SystemExit(f"The questions were not asked:\n{done.stderr}")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    base, ours = Counter[str](), Counter[str]()
    for line in told:
        (base if line["adapter"] == "base" else ours).update(
            {name: line[name] for name in ("right", "rows", "won", "lost")}
        )
    return Figure(
        f"general questions answered right, base → after {cycles} cycles",
        f"{base['right']} → {ours['right']} of {ours['rows']}, {ours['won']} won and "
        f"{ours['lost']} lost",
        f"at most {LOSS:.0%} lost",
        ours["right"] >= base["right"] * (1 - LOSS),
    )


def right(server: Server, facts: list[Fact]) -> int:
    """How many of the facts an answer to the unseen phrasing has."""
    said = all_at_once(lambda fact: server.answer(fact["unseen"], 40), facts)
    return sum(bool(re.search(f["check"], text)) for f, text in zip(facts, said, strict=True))


def share(count: int, of: list[Fact]) -> str:
    return f"{count} of {len(of)}"
