"""What a run goes on from, and methods whose adapters nobody could serve."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from retrain_rows import correction

from feedback import adapters, runs
from feedback.database import Database
from feedback.tables import Run
from retrain import origin, select, steps
from retrain.recipe import Recipe, Stage
from retrain.refusal import Refusal
from retrain.work import Work
from serve.settings import Settings

SFT = (Stage("sft", "sft"),)


def work_of(database: Database, home: Path, **settings: Any) -> Work:
    given = {"home": home, "engine": "transformers", **settings}
    tracker = SimpleNamespace(tick=lambda step, total: None)
    return Work(Settings(**given), database, "r-0001", {}, tracker)  # type: ignore[arg-type]


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


def saw(database: Database, last: int) -> None:
    """The newest run had feedback up to that event in its snapshot."""
    with database.session() as session:
        (newest,) = runs.list_runs(session, 1)
        session.execute(sa.update(Run).where(Run.id == newest.id).values(last_feedback_seq=last))


def refused(database: Database, last: int) -> None:
    """One more run that made nothing."""
    with database.session() as session:
        runs.finish_run(session, runs.claim_run(session, {}).id, "refused", "Too little.")
    saw(database, last)


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


def test_what_was_learned_is_what_the_adapter_and_those_before_it_were_trained_on(
    database: Database, tmp_path: Path
) -> None:
    work, names = work_of(database, tmp_path), list[str]()
    for number, parent, last in ((1, None, 10), (2, 0, 20), (3, 1, 30)):
        before = None if parent is None else names[parent]
        names.append(trained(database, tmp_path, number, before))
        saw(database, last)
    refused(database, 40)
    assert [origin.learned_until(work, name) for name in names] == [10, 20, 30]
    assert origin.learned_until(work, None) == 0


@pytest.mark.parametrize("every", [0, 1])
def test_a_run_from_the_base_chooses_from_all_feedback_as_new(
    every: int, database: Database, tmp_path: Path
) -> None:
    rows = [correction(f"Fact {n} is {n * 7}.", prompt=f"What is fact {n}?") for n in range(80)]
    trained(database, tmp_path, 1, None)
    saw(database, rows[59]["seq"])
    refused(database, rows[-1]["seq"])
    own = {"max_train_rows": 20, "select": "k_center", "rebuild_every": every}
    kept, _ = steps._selected(work_of(database, tmp_path, **own), rows)
    seen = 0 if every else rows[59]["seq"]
    assert kept == select.select(rows, "k_center", 20, 0.3, seen, select.Means())
    assert every or sum(row in rows[:60] for row in kept) == 6
