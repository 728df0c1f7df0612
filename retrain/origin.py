"""What a run goes on from: the champion, or the base, to which it returns every few runs.

Small errors add up in an adapter that is trained on and on, and what was withdrawn stays in it. A
run from the base learns from all feedback in force, and has to beat the champion like any other.
"""

from pathlib import Path

from feedback import adapters, runs
from retrain.recipe import Recipe
from retrain.refusal import Refusal
from retrain.trainers import methods
from retrain.work import Work
from serve.engines import carried, resolve
from serve.engines.adapter_folder import kind_of


def origin(work: Work, recipe: Recipe) -> tuple[str | None, str]:
    """(the adapter to go on from, None for the base; why)."""
    champion = work.champion()
    if champion is None:
        return None, "from the base: no adapter serves"
    if recipe.start == "base":
        return None, "from the base: the recipe says so"
    kind, made = kind_of(Path(champion.path)), methods.find(recipe.method).KIND
    if kind != made:
        return None, f"from the base: {champion.name} is of kind {kind}, {recipe.method} of {made}"
    every, ran = work.settings.rebuild_every, _runs_since_the_base(work)
    if every and ran >= every:
        return None, f"from the base: {ran} runs have trained since one last began there"
    return champion.name, f"from champion {champion.name}"


def learned_until(work: Work, parent: str | None) -> int:
    """The last event in the snapshots that `parent` and those before it were trained on.

    What only runs had that were refused or rejected, nobody learned; 0 for the base.
    """
    last = 0
    with work.database.reading() as session:
        while parent is not None:
            adapter = adapters.get_adapter(session, parent)
            if adapter.run_id is not None:
                last = max(last, runs.get_run(session, adapter.run_id).last_feedback_seq)
            parent = adapter.parent
    return last


def check_served(work: Work, recipe: Recipe) -> None:
    """Raises Refusal when what the method makes cannot be loaded by the engine that serves."""
    settings, made = work.settings, methods.find(recipe.method).KIND
    engine = resolve(settings.engine, settings.quantization)
    if made not in carried(engine, settings.quantization):
        raise Refusal(
            f"The recipe trains by {recipe.method}, and what that makes ({made}) engine {engine} "
            "cannot load here. Start with REDRAFT_ENGINE=transformers and no "
            "REDRAFT_QUANTIZATION, or leave the method out: lora fits every engine."
        )


def _runs_since_the_base(work: Work) -> int:
    """How many runs trained since one last began at the base, that one counted."""
    with work.database.reading() as session:
        made = [
            adapter
            for adapter in adapters.list_adapters(session)
            if adapter.run_id and adapter.base_model == work.settings.model
        ]
    rebuilt = [number for number, adapter in enumerate(made, 1) if adapter.parent is None]
    return rebuilt[0] if rebuilt else len(made)
