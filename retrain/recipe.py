"""What a run trains: decided from what feedback there is, with reasons, or from a TOML file.

A recipe file, of which `corpus` alone leaves the rest to be decided:

    corpus = "shop"
    method = "qlora"
    start = "base"
    curate = ["attributable", "duplicates", "per_user_cap"]
    stages = [{trainer = "sft", epochs = 4.0}, {trainer = "grpo", signals = ["pick"]}]

`trainer` is a file of `retrain/trainers`; `dataset` and `signals` choose its examples; all else
that a table holds are the trainer's own settings. Each stage goes on from the one before, the
first from the champion unless `start` says "base". `method`, one for all stages as adapters never
stack, is a file of `retrain/trainers/methods`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retrain import curate, datasets
from retrain.rows import CORPUS

# A trainer that is not named here eats the dataset of its own name.
DATASET = {"dpo": "preference", "reward": "preference", "online_grpo": "preference"}
OWN = (CORPUS, "correction", "thumb", "reasoning_correction", "reasoning_thumb")  # not picks
THUMBS = ("thumb", "reasoning_thumb")
# Of a corpus there is more than of feedback, and more to forget by: fewer rounds, more replay.
FROM_CORPUS = {"epochs": 2.0, "learning_rate": 5e-4, "replay": 48, "group_by_length": True}
MIN_STAGE = 8  # fewer examples than these are not worth a stage of their own
REWARD, ONLINE = "reward", "online_grpo"  # the first makes no adapter, the second needs the first
STARTS = ("champion", "base")
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
    method: str = "lora"
    start: str = "champion"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


UNDECIDED = Recipe((), ())  # what holds of every recipe that nobody wrote


def decide(found: Mapping[str, Sequence[datasets.Example]], label_noise: float = 0.0) -> Recipe:
    """The default recipe for these training examples; `stages` is empty when there are none.

    Picks between drafts go to DPO with an SFT term, which measured best by far per step (90 %
    against 73 % for SFT on the picked draft and 68 to 77 % for offline GRPO), robust against the
    share of wrong picks that `label_noise` names. What users wrote or praised themselves goes to
    SFT, first, so that DPO starts from an adapter that knows it. A few examples beside many do not
    get a stage of their own: they would be learned by heart. Where there is little but thumbs, and
    enough of both directions, KTO learns from those down as well.
    """
    picks = sum(pair["signal"] == "pick" for pair in found["preference"])
    own = [e for e in found["sft"] if e["signal"] in OWN]
    sft = _sft(own, OWN)
    dpo = Stage("dpo", "preference", settings={"label_noise": label_noise} if label_noise else {})
    pairs = f"DPO on {picks} pairs of drafts" + (
        f", robust against {label_noise:.0%} of wrong picks" if label_noise else ""
    )
    texts = _answers(own)
    if len(own) >= MIN_STAGE and picks >= MIN_STAGE:
        return Recipe((sft, dpo), (f"SFT on {texts}", f"then {pairs}"))
    if picks >= MIN_STAGE:
        return Recipe((dpo,), (pairs, f"{texts} are too few for SFT"))
    return _without_picks(found, picks)


def _without_picks(found: Mapping[str, Sequence[datasets.Example]], picks: int) -> Recipe:
    """The recipe where too few drafts were compared."""
    few = f"{picks} pairs of drafts are too few for DPO"
    written = sum(e["signal"] not in THUMBS for e in found["sft"])
    ups = sum(e["label"] for e in found["kto"])
    downs = len(found["kto"]) - ups
    if min(ups, downs) >= MIN_STAGE > written:
        lone = f"KTO on {ups} thumbs up and {downs} down"
        return Recipe((Stage("kto", "kto"),), (lone, f"{written} answers are too few for SFT", few))
    if found["sft"]:
        return Recipe((_sft(found["sft"]),), (f"SFT on {_answers(found['sft'])}", few))
    return Recipe((), ("nothing to train on",))


def _sft(examples: Sequence[datasets.Example], signals: tuple[str, ...] | None = None) -> Stage:
    """SFT on the examples, in its own way where a corpus is among them."""
    of_corpus = any(e["signal"] == CORPUS for e in examples)
    return Stage("sft", "sft", signals, FROM_CORPUS if of_corpus else {})


def _answers(examples: Sequence[datasets.Example]) -> str:
    """What SFT learns, in words."""
    of_corpus = sum(e["signal"] == CORPUS for e in examples)
    told = [f"{of_corpus} answers of the corpus"] if of_corpus else []
    if of_corpus < len(examples) or not told:
        told.append(f"{len(examples) - of_corpus} corrected or praised answers")
    return " and ".join(told)


def read_recipe(path: Path) -> dict[str, Any]:
    """The checked content of a recipe file, as it is kept with the run. Raises RecipeError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RecipeError(f"The recipe {path} is not valid TOML: {error}.") from error
    if not isinstance(content.get(CORPUS, ""), str):
        raise RecipeError('The recipe names no folder of a corpus. Write: corpus = "shop".')
    if list(content) != [CORPUS]:
        parse(content)
    return content


def parse(content: Mapping[str, Any]) -> Recipe:
    """The recipe that a file's content means. Raises RecipeError."""
    _known("The recipe", content, ("stages", "curate", "method", "start", CORPUS))
    stages = content.get("stages", [])
    if not isinstance(stages, list) or not stages or not all(isinstance(s, dict) for s in stages):
        raise RecipeError('The recipe has no stages. Write: stages = [{trainer = "sft"}].')
    steps = tuple(content.get("curate", curate.DEFAULT))
    for step in steps:
        _among("curate step", step, curate.names())
    method, start = content.get("method", "lora"), content.get("start", "champion")
    _among("method", method, methods())
    _among("start", start, STARTS)
    made = tuple(_stage(table, method) for table in stages)
    _in_order([stage.trainer for stage in made])
    return Recipe(made, ("the recipe file says so",), steps, method, start)


def trainers() -> list[str]:
    """The trainers there are: the files of `retrain/trainers`."""
    return _files(TRAINERS)


def methods() -> list[str]:
    """The PEFT methods there are: the files of `retrain/trainers/methods`."""
    return _files(TRAINERS / "methods")


def _files(folder: Path) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


def dataset_of(trainer: str) -> str:
    """The dataset that a trainer eats unless a recipe says otherwise."""
    return DATASET.get(trainer, trainer)


def eaten() -> list[str]:
    """The datasets that these trainers eat; the others are for exports alone."""
    wanted = set(map(dataset_of, trainers()))
    return [name for name in datasets.names() if name in wanted]


def _stage(table: Mapping[str, Any], method: str) -> Stage:
    own = dict(table)
    if "method" in table:
        raise RecipeError(
            'A stage names a method, which is one for all: method = "…" above stages.'
        )
    trainer = own.pop("trainer", None)
    _among("trainer", trainer, trainers())
    dataset = own.pop("dataset", dataset_of(str(trainer)))
    _among("dataset", dataset, eaten())
    signals = own.pop("signals", None)
    if method != "lora" and trainer != REWARD:  # a reward model is LoRA and a head
        own["method"] = method
    return Stage(str(trainer), str(dataset), tuple(signals) if signals else None, own)


def _in_order(trainers: Sequence[str]) -> None:
    """Raises RecipeError where a reward model is missing, or is all that a recipe makes."""
    if ONLINE in trainers and REWARD not in trainers[: trainers.index(ONLINE)]:
        raise RecipeError(f"Stage {ONLINE} needs a stage {REWARD} before it, which scores for it.")
    if trainers[-1] == REWARD:
        raise RecipeError(
            f"Stage {REWARD} makes no adapter that answers. Put {ONLINE} after it, or leave it out."
        )


def _among(what: str, name: object, known: Sequence[str]) -> None:
    if name not in known:
        raise RecipeError(f"The recipe names the {what} {name!r}. Known: {', '.join(known)}.")


def _known(what: str, table: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in table:
        if key not in keys:
            raise RecipeError(f"{what} has an entry {key!r}. Known: {', '.join(keys)}.")
