"""The same feedback, learned by one trainer alone and by the recipe that Redraft decides on."""

import re
import shutil
from collections.abc import Iterator

from simulated import Figure, World
from simulated.drafts import PEOPLE, UNSEEN, WRONG
from simulated.wishes import Comparer, brevity, compare, preferred

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
    unseen, prompts = world.prompts[:UNSEEN], world.prompts[UNSEEN : UNSEEN + COMPARISONS]
    whole = world.folder / "feedback" / "whole"
    if not whole.exists():
        with world.server("feedback", holdout_share=HELD_OUT) as server:
            people = [Comparer(user, brevity, WRONG) for user in PEOPLE]
            compare(server, prompts, people, seed=3000, n=DRAFTS, graded=True)
        whole.touch()
    for name, recipe in RECIPES.items():
        home = world.folder / name.replace(" ", "-").lower()
        if not home.exists():
            shutil.copytree(world.folder / "feedback", home)
        path = home / "recipe.toml"
        path.write_text(recipe)
        with world.server(home.name, holdout_share=HELD_OUT) as server:
            ran = server.last_run() or server.retrain(path if recipe else None)
            world.tell(f"{name}: {ran['message']}")
            wins = preferred(server, unseen) if ran["state"] == "promoted" else 0.0
        better = re.search(r"better on \d+ of \d+ held-out", ran["message"])
        told = (f"{wins:.0%}", ran["state"], better and better[0], f"{ran['seconds']:.0f} s")
        yield Figure(
            f"ablation, {name}: preferred to the base",
            ", ".join(part for part in told if part),
        )
