"""What a run goes on from, and methods whose adapters nobody could serve."""

import json
from pathlib import Path
from typing import Any

import pytest

from feedback import adapters, runs
from feedback.database import Database
from retrain import origin
from retrain.recipe import Recipe, Stage
from retrain.refusal import Refusal
from retrain.work import Work
from serve.settings import Settings

SFT = (Stage("sft", "sft"),)


def work_of(database: Database, home: Path, **settings: Any) -> Work:
    given = {"home": home, "engine": "transformers", **settings}
    return Work(Settings(**given), database, "r-0001", {}, None)  # type: ignore[arg-type]


def trained(
    database: Database, home: Path, number: int, parent: str | None, kind: str = "LORA"
) -> str:
    """The adapter of one more run, put into service."""
    name = f"a-{number:04d}-aaaaaa"
    folder = home / "adapters" / name
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": kind}))
    with database.session() as session:
        run = runs.claim_run(session, {}).id
        adapters.register_adapter(
            session,
            name=name,
            base_model="smollm2-135m",
            path=str(folder),
            digest="d",
            parent=parent,
            run_id=run,
        )
        runs.finish_run(session, run, "promoted", "", name)
        adapters.set_champion(session, name, "test", "test")
    return name


def test_every_few_runs_one_begins_at_the_base(database: Database, tmp_path: Path) -> None:
    begun = []
    work = work_of(database, tmp_path, rebuild_every=3)
    for number in range(1, 8):
        parent, why = origin.origin(work, Recipe(SFT, ()))
        begun.append(parent is None)
        assert ("base" if parent is None else f"champion {parent}") in why
        trained(database, tmp_path, number, parent)
    assert begun == [True, False, False, True, False, False, True]


def test_a_rebuild_that_was_not_promoted_is_not_tried_again_at_once(
    database: Database, tmp_path: Path
) -> None:
    work = work_of(database, tmp_path, rebuild_every=2)
    champion = trained(database, tmp_path, 1, trained(database, tmp_path, 0, None))
    assert origin.origin(work, Recipe(SFT, ()))[0] is None
    trained(database, tmp_path, 2, None)
    with database.session() as session:
        adapters.set_champion(session, champion, "test", "test")
    assert origin.origin(work, Recipe(SFT, ()))[0] == champion


@pytest.mark.parametrize(("every", "parent"), [(0, "a-0009-aaaaaa"), (1, None)])
def test_never_and_always(
    every: int, parent: str | None, database: Database, tmp_path: Path
) -> None:
    before = None
    for number in range(10):
        before = trained(database, tmp_path, number, before)
    work = work_of(database, tmp_path, rebuild_every=every)
    assert origin.origin(work, Recipe(SFT, ()))[0] == parent


def test_a_recipe_may_begin_at_the_base(database: Database, tmp_path: Path) -> None:
    trained(database, tmp_path, 1, None)
    parent, why = origin.origin(work_of(database, tmp_path), Recipe(SFT, (), start="base"))
    assert parent is None and "the recipe says so" in why


def test_a_champion_of_another_kind_is_not_gone_on_from(database: Database, tmp_path: Path) -> None:
    champion = trained(database, tmp_path, 1, None)
    work = work_of(database, tmp_path)
    assert origin.origin(work, Recipe(SFT, (), method="qlora"))[0] == champion
    parent, why = origin.origin(work, Recipe(SFT, (), method="prefix"))
    assert parent is None
    assert why == f"from the base: {champion} is of kind LORA, prefix of PREFIX_TUNING"


@pytest.mark.parametrize(
    ("engine", "quantization", "served"),
    [("transformers", "none", True), ("openvino", "none", False), ("transformers", "int8", False)],
)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_what_no_engine_here_could_serve_is_refused(
    engine: str, quantization: str, served: bool, method: str, database: Database, tmp_path: Path
) -> None:
    work = work_of(database, tmp_path, engine=engine, quantization=quantization)
    origin.check_served(work, Recipe(SFT, (), method="lora"))
    origin.check_served(work, Recipe(SFT, (), method="qlora"))
    recipe = Recipe(SFT, (), method=method)
    if served:
        origin.check_served(work, recipe)
        return
    with pytest.raises(
        Refusal, match=f"trains by {method}, and what that makes .* {engine} cannot"
    ):
        origin.check_served(work, recipe)
