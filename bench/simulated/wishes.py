"""What simulated people wish for, and how they show it; nothing but they sees a wish."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulated.server import Server, all_at_once

TEMPERATURE = 0.9
DRAFT = 120  # tokens: about a third of the built-in model's answers end before

Liking = Callable[[str], float]  # of an answer; the higher, the better


def brevity(answer: str) -> float:
    """The fewer words the better, and no answer is the worst."""
    return -float(len(answer.split())) if answer.strip() else float("-inf")


def brief(answer: str) -> bool:
    """Whether a person who wants at most 60 words is satisfied."""
    return 0 < len(answer.split()) <= 60


@dataclass(frozen=True)
class Comparer:
    """Picks the draft that is liked best, or with chance `wrong` another."""

    user: str
    likes: Liking = brevity
    wrong: float = 0.0

    def pick(self, drafts: dict[str, str], chance: random.Random) -> str:
        ranked = sorted(drafts, key=lambda id: self.likes(drafts[id]))
        return ranked[0] if chance.random() < self.wrong else ranked[-1]


def compare(
    server: Server,
    prompts: list[str],
    people: list[Comparer],
    seed: int,
    n: int = 2,
    graded: bool = False,
) -> int:
    """Each prompt gets `n` drafts, and one of the people picks; returns the tokens written.

    Where it is `graded`, they also give a thumb up to their pick, and one down to the draft that
    they like least.
    """
    server.meet([person.user for person in people])

    def one(given: tuple[int, str]) -> int:
        number, prompt = given
        person, chance = people[number % len(people)], random.Random(f"{seed}-{number}")
        asked = server.ask(
            person.user, prompt, n=n, temperature=TEMPERATURE, max_tokens=DRAFT, seed=seed + number
        )
        told: dict[str, Any] = asked["redraft"]
        drafts = server.drafts(told["turn_id"], told["conversation_id"], person.user)
        shown = chance.sample(sorted(drafts), len(drafts))
        chosen = person.pick(drafts, chance)
        server.feed_back(
            person.user, kind="comparison", turn_id=told["turn_id"], shown=shown, chosen=chosen
        )
        if graded:
            worst = min(drafts, key=lambda id: person.likes(drafts[id]))
            for draft, value in {chosen: 1, worst: -1}.items():
                server.feed_back(person.user, kind="rating", completion_id=draft, value=value)
        return int(asked["usage"]["completion_tokens"])

    return sum(all_at_once(one, list(enumerate(prompts))))


def preferred(server: Server, prompts: list[str], likes: Liking = brevity) -> float:
    """The share of unseen prompts on which what serves is liked better than the base."""
    ours = all_at_once(lambda prompt: server.answer(prompt, 2 * DRAFT), prompts)
    theirs = all_at_once(lambda prompt: server.answer(prompt, 2 * DRAFT, "base"), prompts)
    wins = sum(likes(new) > likes(old) for new, old in zip(ours, theirs, strict=True))
    return wins / len(prompts)
