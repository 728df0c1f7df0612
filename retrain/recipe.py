"""What a run trains: decided from what feedback there is, with reasons, or from a TOML file.

A recipe file:

    curate = ["attributable", "duplicates", "per_user_cap"]
    stages = [{trainer = "sft", epochs = 4.0}, {trainer = "grpo", signals = ["pick"]}]

`trainer` is a file of `retrain/trainers`; `dataset` and `signals` choose its examples; all else
that a table holds are the trainer's own settings. Each stage goes on from the one before.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retrain import curate, datasets

DATASET = {"dpo": "preference"}  # a trainer not named here eats the dataset of its own name
OWN = ("correction", "thumb", "reasoning_correction", "reasoning_thumb")  # not picks of drafts
MIN_STAGE = 8  # fewer examples than these are not worth a stage of their own
TRAINERS = Path(__file__).parent / "trainers"


class RecipeError(Exception):
    """A recipe file cannot be used; the message names the entry."""


@dataclass(frozen=True)
class Stage:
    """One training: which trainer, on which examples (`signals` None: all), with which settings."""

    trainer: str
    dataset: str
    signals: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def examples(self, found: Mapping[str, Sequence[datasets.Example]]) -> list[datasets.Example]:
        """Those of the built datasets that this stage trains on."""
        return [e for e in found[self.dataset] if not self.signals or e["signal"] in self.signals]


@dataclass(frozen=True)
class Recipe:
    """What to do, and why."""

    stages: tuple[Stage, ...]
    reasons: tuple[str, ...]
    curate: tuple[str, ...] = curate.DEFAULT

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(found: Mapping[str, Sequence[datasets.Example]]) -> Recipe:
    """The default recipe for these training examples; `stages` is empty when there are none.

    Picks between drafts go to DPO with an SFT term, which measured best by far per step (90 %
    against 73 % for SFT on the picked draft and 68 to 77 % for offline GRPO). What users wrote or
    praised themselves goes to SFT, first, so that DPO starts from an adapter that knows it. A few
    examples beside many do not get a stage of their own: they would be learned by heart.
    """
    picks = sum(pair["signal"] == "pick" for pair in found["preference"])
    own = [e for e in found["sft"] if e["signal"] in OWN]
    sft = Stage("sft", "sft", OWN)
    dpo = Stage("dpo", "preference")
    texts = f"{len(own)} corrected or praised answers"
    if len(own) >= MIN_STAGE and picks >= MIN_STAGE:
        return Recipe((sft, dpo), (f"SFT on {texts}", f"then DPO on {picks} pairs of drafts"))
    if picks >= MIN_STAGE:
        return Recipe((dpo,), (f"DPO on {picks} pairs of drafts", f"{texts} are too few for SFT"))
    if found["sft"]:
        few = f"{picks} pairs of drafts are too few for DPO"
        return Recipe((Stage("sft", "sft"),), (f"SFT on {len(found['sft'])} answers", few))
    return Recipe((), ("nothing to train on",))


def read_recipe(path: Path) -> dict[str, Any]:
    """The checked content of a recipe file, as it is kept with the run. Raises RecipeError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RecipeError(f"The recipe {path} is not valid TOML: {error}.") from error
    parse(content)
    return content


def parse(content: Mapping[str, Any]) -> Recipe:
    """The recipe that a file's content means. Raises RecipeError."""
    _known("The recipe", content, ("stages", "curate"))
    stages = content.get("stages", [])
    if not isinstance(stages, list) or not stages or not all(isinstance(s, dict) for s in stages):
        raise RecipeError('The recipe has no stages. Write: stages = [{trainer = "sft"}].')
    steps = tuple(content.get("curate", curate.DEFAULT))
    for step in steps:
        _among("curate step", step, curate.names())
    return Recipe(tuple(map(_stage, stages)), ("the recipe file says so",), steps)


def trainers() -> list[str]:
    """The trainers there are: the files of `retrain/trainers`."""
    return sorted(p.stem for p in TRAINERS.glob("*.py") if not p.stem.startswith("_"))


def eaten() -> list[str]:
    """The datasets that these trainers eat; the others are for exports alone."""
    wanted = {DATASET.get(trainer, trainer) for trainer in trainers()}
    return [name for name in datasets.names() if name in wanted]


def _stage(table: Mapping[str, Any]) -> Stage:
    own = dict(table)
    trainer = own.pop("trainer", None)
    _among("trainer", trainer, trainers())
    dataset = own.pop("dataset", DATASET.get(str(trainer), trainer))
    _among("dataset", dataset, eaten())
    signals = own.pop("signals", None)
    return Stage(str(trainer), str(dataset), tuple(signals) if signals else None, own)


def _among(what: str, name: object, known: Sequence[str]) -> None:
    if name not in known:
        raise RecipeError(f"The recipe names the {what} {name!r}. Known: {', '.join(known)}.")


def _known(what: str, table: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in table:
        if key not in keys:
            raise RecipeError(f"{what} has an entry {key!r}. Known: {', '.join(keys)}.")
