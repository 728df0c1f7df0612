"""A conversation on the built-in model in Chromium; the shipped rewriter resolves its follow-ups.

The model is taught the form `conclusion #### reasoning` first, by the project's own trainer: the
bare one does not know it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_page import ask, conversation, soon, visit
from conftest import Redraft
from playwright.sync_api import BrowserContext, Page, expect

from feedback import adapters
from feedback.database import open_database
from feedback.migrate import migrate
from prompts.answer_first import join_answer
from retrain.job import TrainJob
from retrain.manifest import sha256
from serve.engines.builtin import builtin_folder

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1200)]

NAME = "a-0001-0f0f0f"
LAMP = [
    ("How long is the {} covered by warranty?", "38 months.", "The card in its box says so."),
    ("How much does the {} cost?", "40 euros.", "That is its price in the shop."),
    ("Who sells the {}?", "The Velmar shop.", "Velmar sells what it makes itself."),
    ("What is the {} made of?", "Copper and glass.", "The foot is copper, the shade is glass."),
]
THINGS = ("Velmar lamp", "Velmar lamp", "Velmar desk lamp", "lamp by Velmar")
MEANT = "Which shop sells the Velmar lamp?"


def teach_the_form(model: Path, out: Path) -> None:
    from retrain.trainers import sft

    rows = [
        {
            "prompt": [{"role": "user", "content": question.format(thing)}],
            "completion": [{"role": "assistant", "content": join_answer(short, why)}],
        }
        for question, short, why in LAMP
        for thing in THINGS
    ]
    sft.train(TrainJob(model=model, out=out, rows=rows, settings={"replay": 0, "min_steps": 30}))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    home = tmp_path_factory.mktemp("follow-ups") / "home"
    home.mkdir()
    taught = home / "adapters" / NAME
    taught.parent.mkdir()
    teach_the_form(builtin_folder(home), taught)
    database = open_database(f"sqlite:///{home / 'redraft.db'}")
    migrate(database)
    with database.session() as session:
        adapters.register_adapter(
            session,
            name=NAME,
            base_model="smollm2-135m",
            path=str(taught),
            digest=sha256(taught / "adapter_model.safetensors"),
        )
        adapters.set_champion(session, NAME, "test", "taught the form")
    database.close()
    running = Redraft(home, reasoning="on_demand", temperature=0, max_tokens=60, rewrite_seconds=30)
    running.start("--no-scheduler", seconds=240)
    yield running
    running.stop()
    running.http.close()


@pytest.fixture
def page(context: BrowserContext, server: Redraft) -> Iterator[Page]:
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page = visit(context, server.page_url)
    yield page
    expect.set_options(timeout=15_000)
    assert page.errors == []  # type: ignore[attr-defined]


def test_follow_ups_are_understood_edited_and_exported_and_reasoning_goes_on(
    server: Redraft, page: Page, tmp_path: Path
) -> None:
    ask(page, "How long is the Velmar lamp covered by warranty?")
    expect(page.locator(".answer > .md").last).to_have_text("38 months.")
    expect(page.locator(".understood")).to_have_count(0)
    for follow_up in ("How much does it cost?", "Who sells it?"):
        ask(page, follow_up)
        expect(page.locator(".understood bdi").last).to_contain_text("Velmar lamp")
    expect(page.locator(".understood")).to_have_count(2)
    reason(server, page)
    reword(server, page)
    export(server, page, tmp_path / "rewriter.jsonl")


def reason(server: Redraft, page: Page) -> None:
    """The conclusion stands alone; its reasoning is written when asked for."""
    turn = conversation(server, page)["turns"][1]["completions"][0]
    assert "####" not in turn["text"] and turn["reasoning"] is None
    page.get_by_role("button", name="Show reasoning").nth(1).click()
    expect(page.locator(".thought .md")).to_contain_text("price in the shop")
    soon(lambda: bool(conversation(server, page)["turns"][1]["completions"][0]["reasoning"]))
    page.get_by_label("Good reasoning").click()

    def judged() -> bool:
        answer = conversation(server, page)["turns"][1]["completions"][0]
        return answer["rating"] is None and bool(answer["reasoning_rating"])

    soon(judged)


def reword(server: Redraft, page: Page) -> None:
    page.get_by_label("Edit how the question was understood").last.click()
    page.get_by_label("The question as it was meant").fill(MEANT)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".understood").last).to_contain_text("Saved, teaches the next rewriter.")


def export(server: Redraft, page: Page, file: Path) -> None:
    """The edit is a row that `redraft retrain rewriter` reads."""
    done = server.command("export", "rewriter", str(file), "--split", "all")
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert (row["query"], row["rewrite"]) == ("Who sells it?", MEANT)
    assert [message["role"] for message in row["history"]] == ["user", "assistant"] * 2
