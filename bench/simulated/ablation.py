"""The same feedback, learned by one trainer alone and by the recipe that Redraft decides on.

What comes of a trainer is asked in an engine of the bench's own: a server never loads an adapter
that its gate rejected, and of so little held-out feedback the gate is sure of few.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from serve.engines import open_judging
from serve.engines.base import Engine, likeliest
from serve.settings import Settings
from simulated import Figure, World
from simulated.drafts import PEOPLE, UNSEEN, WRONG
from simulated.server import all_at_once
from simulated.wishes import DRAFT, Comparer, brevity, compare

COMPARISONS = 60
HELD_OUT = 0.33  # of them: enough to judge by, and the dear part is short
DRAFTS = 4  # of each prompt: groups are more than pairs
RECIPES = {
    "SFT only": 'stages = [{trainer = "sft"}]',
    "DPO": 'stages = [{trainer = "dpo", epochs = 1.0}]',  # a group is three pairs
    "KTO": 'stages = [{trainer = "kto"}]',
    "offline GRPO": 'stages = [{trainer = "grpo"}]',
    "decided": "",
}


def run(world: World) -> Iterator[Figure]:
    """One cycle of comparisons and thumbs, learned in five ways from the same database.

    A home whose run came to its end is asked, and not trained again.
    """
    unseen = world.prompts[:UNSEEN]
    world.once("feedback", lambda: give_feedback(world))
    theirs = world.once("base", lambda: of_the_base(world, unseen))
    for name, recipe in RECIPES.items():
        home = world.folder / name.replace(" ", "-").lower()
        ran = world.once(f"run {name}", partial(learned, world, home, recipe))
        world.tell(f"{name}: {ran['message']}")
        asked = partial(liked, home, ran["adapter"], unseen, theirs)
        wins, words = world.once(f"liked {name}", asked)
        better = re.search(r"better on \d+ of \d+ held-out", ran["message"])
        gate = f"{ran['state']} ({better[0] if better else ran['message']})"
        yield Figure(
            f"ablation, {name}: preferred to the base",
            f"{wins:.0%}, {words:.2f} of its words, {gate}, {ran['seconds']:.0f} s",
        )


def give_feedback(world: World) -> None:
    """What all of them learn from."""
    people = [Comparer(user, brevity, WRONG) for user in PEOPLE]
    prompts = world.prompts[UNSEEN : UNSEEN + COMPARISONS]
    with world.server("feedback", holdout_share=HELD_OUT) as server:
        compare(server, prompts, people, seed=3000, n=DRAFTS, graded=True)


def learned(world: World, home: Path, recipe: str) -> dict[str, Any]:
    """The run that learned by a recipe, "" for the one that is decided on, in a home of its own."""
    if not home.exists():
        shutil.copytree(world.folder / "feedback", home)
    path = home / "recipe.toml"
    path.write_text(recipe)
    with world.server(home.name, holdout_share=HELD_OUT) as server:
        return server.last_run() or server.retrain(path if recipe else None)


def of_the_base(world: World, prompts: list[str]) -> list[str]:
    """What the base answers."""
    with closing(open_judging("auto", Settings().model, world.folder / "feedback")) as engine:
        return answers(engine, prompts, None)


def liked(
    home: Path, adapter: str | None, prompts: list[str], theirs: list[str]
) -> tuple[float, float]:
    """How often the adapter's greedy answer is liked better than the base's, and how many times as
    many words it has; (0, 1) without one."""
    if adapter is None:
        return 0.0, 1.0
    with closing(open_judging("auto", Settings().model, home)) as engine:
        engine.load_adapter(adapter, home / "adapters" / adapter)
        ours = answers(engine, prompts, adapter)
    wins = sum(brevity(new) > brevity(old) for new, old in zip(ours, theirs, strict=True))
    words = sum(len(text.split()) for text in ours) / sum(len(text.split()) for text in theirs)
    return wins / len(prompts), words


def answers(engine: Engine, prompts: list[str], adapter: str | None) -> list[str]:
    def answer(prompt: str) -> str:
        return likeliest(engine, [{"role": "user", "content": prompt}], 2 * DRAFT, adapter)

    return all_at_once(answer, prompts)
