"""Thumbs alone: 30 % of turns get one by a hidden rule, 15 % of them the wrong way round."""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

from simulated import Figure, World, after
from simulated.server import Server, all_at_once
from simulated.wishes import DRAFT, TEMPERATURE, brief

PEOPLE = ("ada", "ben", "chi", "dan", "eva", "fay")
TURNS = 300  # in a cycle
RATED, WRONG = 0.3, 0.15
UNSEEN = 40
GOAL = 0.2


def run(world: World) -> Iterator[Figure]:
    """Satisfaction by the hidden rule on unseen prompts, before and after each cycle."""
    unseen, prompts = world.prompts[:UNSEEN], world.prompts[UNSEEN:]
    with world.server("thumbs") as server:
        before = world.once("before", lambda: satisfied(server, unseen))
        yield Figure("thumbs: satisfied before", f"{before:.0%}")
        for cycle in range(world.cycles):
            asked = prompts[cycle * TURNS : (cycle + 1) * TURNS] or prompts[:TURNS]
            world.cycle(server, cycle, partial(rate, server, asked, cycle))
            now = world.once(f"satisfied {cycle}", lambda: satisfied(server, unseen))
            yield after("thumbs: satisfied", cycle, world.cycles, now, before + GOAL)


def rate(server: Server, prompts: list[str], cycle: int) -> None:
    """Ask each prompt; three answers in ten get a thumb."""
    server.meet(PEOPLE)

    def one(given: tuple[int, str]) -> None:
        number, prompt = given
        user, chance = PEOPLE[number % len(PEOPLE)], random.Random(f"{cycle}-{number}")
        asked: dict[str, Any] = server.ask(
            user, prompt, temperature=TEMPERATURE, max_tokens=DRAFT, seed=1000 * cycle + number
        )
        if chance.random() >= RATED:
            return
        good = brief(asked["choices"][0]["message"]["content"]) != (chance.random() < WRONG)
        (said,) = asked["redraft"]["completion_ids"]
        server.feed_back(user, kind="rating", completion_id=said, value=1 if good else -1)

    all_at_once(one, list(enumerate(prompts)))


def satisfied(server: Server, prompts: list[str]) -> float:
    """The share of the answers with which the hidden rule is satisfied."""
    said = all_at_once(lambda prompt: server.answer(prompt, 2 * DRAFT), prompts)
    return sum(map(brief, said)) / len(said)
