"""People with hidden wishes who use a real server over HTTP, one scenario a file.

`run(world)` of a scenario plays it and returns its figures beside their goals.
"""

import importlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from simulated.server import Server

Done = TypeVar("Done")


@dataclass(frozen=True)
class Figure:
    """One line of the table; `met` None where nothing was promised."""

    what: str
    seen: str
    goal: str = ""
    met: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def after(what: str, cycle: int, cycles: int, share: float, goal: float) -> Figure:
    """What a share came to after a cycle, counted from 0; the goal is for the last."""
    said = f"{what} after {cycle + 1} cycles", f"{share:.0%}"
    return Figure(*said, f"≥ {goal:.0%}", share >= goal) if cycle + 1 == cycles else Figure(*said)


@dataclass
class World:
    """What a scenario plays in: a folder of its own, prompts, and how large it is to be."""

    folder: Path
    prompts: list[str]  # none of them in two scenarios' training and test
    cycles: int
    settings: dict[str, Any] = field(default_factory=dict)
    tell: Callable[[str], None] = print

    def server(self, name: str, **settings: Any) -> Server:
        """A server in a home of its own; a home that is there goes on."""
        given = {"schedule": "", "min_events": 1_000_000, **self.settings, **settings}
        return Server(self.folder / name, given)

    def once(self, step: str, work: Callable[[], Done]) -> Done:
        """What the work returns, which JSON can hold; of an earlier time where that is kept.

        So a scenario that was cut off goes on with the step that it was in.
        """
        kept = self.folder / "steps.json"
        done: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        if step not in done:
            done[step] = work()
            part = kept.with_suffix(".part")  # a kill while it is written loses no step
            part.write_text(json.dumps(done, indent=2))
            part.replace(kept)
        return cast(Done, done[step])

    def cycle(
        self, server: Server, number: int, use: Callable[[], object], recipe: Path | None = None
    ) -> None:
        """People use the server, then it learns."""

        def used() -> None:
            use()

        self.once(f"use {number}", used)
        self.tell(self.once(f"run {number}", lambda: str(server.retrain(recipe)["message"])))


def names() -> list[str]:
    """The scenarios: the files of this folder with a `run`."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return [path.stem for path in files if "\ndef run(" in path.read_text()]


def play(name: str, world: World) -> list[Figure]:
    """Play one scenario to its end."""
    figures: Iterable[Figure] = importlib.import_module(f"simulated.{name}").run(world)
    return list(figures)
