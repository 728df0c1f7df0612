"""A hidden style rule: of two drafts four people pick the shorter one, one pick in ten is wrong."""

from collections.abc import Iterator
from functools import partial

from simulated import Figure, World, after
from simulated.wishes import Comparer, compare, preferred

PEOPLE = ("ada", "ben", "chi", "dan")
WRONG = 0.1
COMPARISONS = 100  # in a cycle
UNSEEN = 40
GOAL = 0.85


def run(world: World) -> Iterator[Figure]:
    """Three cycles of comparisons; how often the champion's answer to an unseen prompt wins."""
    unseen, prompts = world.prompts[:UNSEEN], world.prompts[UNSEEN:]
    people = [Comparer(user, wrong=WRONG) for user in PEOPLE]
    with world.server("drafts") as server:
        for cycle in range(world.cycles):
            asked = prompts[cycle * COMPARISONS : (cycle + 1) * COMPARISONS]
            world.cycle(server, cycle, partial(compare, server, asked, people, seed=1000 * cycle))
            wins = world.once(f"preferred {cycle}", lambda: preferred(server, unseen))
            yield after("drafts: preferred to the base", cycle, world.cycles, wins, GOAL)
