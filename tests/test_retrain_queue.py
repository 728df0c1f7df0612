"""What a run leaves for reviewers, and what their word does in the next one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_context import open_here
from retrain_rows import comparison, correction, draft, rating, record_corrections, rewrite

from feedback import runs, users
from feedback.queue import Item
from retrain import curate, datasets, loop
from retrain.manifest import read_rows
from retrain.queue import queue
from retrain.rows import Row
from retrain.work import run_folder
from serve.api import create_app
from serve.api.context import Context
from serve.settings import Settings, load_settings


def waiting(kept: list[Row], held: list[Row] = [], share: float = 1) -> list[Item]:  # noqa: B006
    reasons = [{"step": "min_users", "reason": "too few", "row": row} for row in held]
    return list(queue(kept, reasons, share))


def test_all_that_is_held_waits_and_a_share_of_what_is_trained_on() -> None:
    kept = [rating(1, f"answer {n}") for n in range(400)]
    aside = [rating(1, split="heldout"), {**rating(1), "review": {"verdict": "keep"}}]
    held = [rating(-1), rating(-1, split="heldout")]
    found = waiting(kept + aside, held, share=0.1)
    assert [item.feedback_id for item in found[:2]] == [row["feedback_id"] for row in held]
    assert {(item.step, item.reason) for item in found[:2]} == {("min_users", "too few")}
    drawn = [item.feedback_id for item in found[2:]]
    assert 20 <= len(drawn) <= 60 and set(drawn) <= {row["feedback_id"] for row in kept}
    assert {item.step for item in found[2:]} == {None}
    again = [item.feedback_id for item in waiting(kept[100:], share=0.1)]
    assert again == [id for id in drawn if id in again], "who is drawn does not depend on others"
    assert waiting(kept, share=0) == []


def test_people_who_say_the_same_are_counted() -> None:
    question = {"prompt": "How long is the refund window of the lamp?"}
    days = "The refund window is 45 days."
    rows = [
        correction(days, user_id="usr_1", **question),
        correction("45 days.", user_id="usr_2", **question),
        correction("9 days.", user_id="usr_3", **question),
        *(rating(1, "Yes.", prompt="q", user_id=f"usr_{n}") for n in (1, 1, 2)),
        rating(-1, "Yes.", prompt="q", user_id="usr_3"),
        *(comparison(n % 2, "a", "b", prompt="q", user_id=f"usr_{n}") for n in (1, 2, 3)),
    ]
    assert [item.users for item in waiting(rows)] == [2, 2, 1, 2, 2, 2, 1, 2, 1, 2]


def test_it_is_shown_what_would_be_taught() -> None:
    two = comparison(1, "first", "second")
    thought = draft("Yes.", reasoning={"text": "as it rains", "token_ids": None, "logprobs": None})
    told = rating(-1, thought)
    told["payload"] |= {"part": "reasoning", "tags": ["wrong_fact"], "comment": "no"}
    rows = [correction("new", "old"), two, told, rewrite(-1, "How old is she?"), rewrite(1)]
    shown = [item.shown for item in waiting(rows)]
    assert [one["text"] for one in shown] == [
        "new", "second", "as it rains", "How old is she?", "How old is Ibn Sina?",
    ]  # fmt: skip
    assert [[a["text"] for a in one["answers"]] for one in shown] == [
        ["old"], ["first", "second"], ["as it rains"], [], [],
    ]  # fmt: skip
    assert shown[1]["chosen"] == two["payload"]["chosen"]
    assert (shown[2]["value"], shown[2]["tags"], shown[2]["comment"]) == (-1, ["wrong_fact"], "no")
    assert shown[3]["query"] == "How old is he?"


def test_every_row_that_curation_knows_can_be_shown() -> None:
    kinds = [correction("x"), rating(1), comparison("tie", "a", "b"), comparison("both_bad", "a")]
    found = curate.curate(kinds, Settings(min_users=3))
    assert len(waiting(found.rows, [one["row"] for one in found.quarantine])) == 4


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Context]:
    # The share is none: what waits is what curation held back.
    settings = load_settings(home=tmp_path, engine="echo", review_share=0, min_users=2)
    with open_here(settings) as context:
        yield context


class Team:
    """A user, a reviewer, and the runs between them."""

    def __init__(self, here: Context) -> None:
        self.here, self.api = here, create_app(here).test_client()
        self.mallory, self.eve = self._key("mallory", "user"), self._key("eve", "reviewer")

    def _key(self, name: str, role: str) -> dict[str, str]:
        with self.here.database.session() as session:
            key = users.new_key(session, name)
            users.set_role(session, name, role)
        return {"Authorization": f"Bearer {key}"}

    def corrected(self, count: int, text: str) -> list[str]:
        """The ids of so many corrections of mallory's; engine echo's own answers teach nothing."""
        record_corrections(self.here.database, "m", count, user="mallory", text=text)
        listed: Any = self.api.get(f"/v1/feedback?limit={count}", headers=self.mallory).json
        return [one["id"] for one in reversed(listed["data"])]

    def give(self, who: dict[str, str], **body: Any) -> str:
        made = self.api.post("/v1/feedback", json=body, headers=who)
        assert made.status_code == 201, made.text
        id: str = made.json["id"]  # type: ignore[index]
        return id

    def queue(self, path: str = "") -> Any:
        answer = self.api.get(f"/v1/review-queue{path}", headers=self.eve)
        assert answer.status_code == 200, answer.text
        return answer.json

    def run(self) -> list[Row]:
        """A run; the rows that it counted."""
        with self.here.database.session() as session:
            run_id = runs.claim_run(session, {}).id
        assert loop.run(self.here.settings, run_id) == "refused", "echo has nothing to train"
        return read_rows(run_folder(self.here.settings, run_id) / "curate" / "rows.jsonl")


def test_kept_is_taught_fixed_is_taught_otherwise_and_dropped_is_not(here: Context) -> None:
    team = Team(here)
    given = team.corrected(3, "Code {}-blue.")
    given += team.corrected(1, "Write to mallory@example.org.")
    assert team.queue() == {
        "object": "list", "data": [], "has_more": False, "last_id": None,
        "progress": {"done": 0, "total": 0},
    }  # fmt: skip
    assert team.run() == []
    listed = team.queue()["data"]
    assert [one["feedback_id"] for one in listed] == given[::-1]
    assert listed[0]["text"] == "Write to [EMAIL].", "masked, as it would be taught"
    assert "mallory@" not in str(listed)
    assert listed[1]["messages"][-1]["content"] == "What is the code of door 2?"
    assert listed[1]["answers"][0]["text"] == "I do not know."
    assert listed[1]["held"]["step"] == "min_users" and listed[1]["users"] == 1
    assert listed[1]["user"] == {"name": "mallory", "role": "user"}

    verdicts: list[dict[str, str]] = [
        {"verdict": "keep"}, {"verdict": "fix", "text": "Code 1-red."}, {"verdict": "drop"},
    ]  # fmt: skip
    for id, said in zip(given, verdicts, strict=False):
        team.give(team.eve, kind="review", feedback_id=id, **said)
    assert [one["feedback_id"] for one in team.queue()["data"]] == [given[3]]
    assert team.queue()["progress"] == {"done": 3, "total": 4}
    rows = team.run()
    assert [row["feedback_id"] for row in rows] == given[:2]
    learned = datasets.build("sft", [row | {"split": "train"} for row in rows])
    assert [e["completion"][0]["content"] for e in learned] == ["Code 0-blue.", "Code 1-red."]
    assert team.queue()["progress"] == {"done": 0, "total": 1}


def test_a_verdict_taken_back_is_none_in_the_next_run(here: Context) -> None:
    team = Team(here)
    (given,) = team.corrected(1, "An answer.")
    team.run()
    review = team.give(team.eve, kind="review", feedback_id=given, verdict="keep")
    assert team.api.delete(f"/v1/feedback/{review}", headers=team.eve).status_code == 204
    assert [one["feedback_id"] for one in team.queue()["data"]] == [given]
    assert team.run() == []


def test_the_queue_is_paged_and_for_reviewers(here: Context) -> None:
    team = Team(here)
    given = team.corrected(3, "Code {}-blue.")
    team.run()
    first = team.queue("?limit=2")
    assert (len(first["data"]), first["has_more"]) == (2, True)
    rest = team.queue(f"?limit=2&after={first['last_id']}")
    assert ([one["feedback_id"] for one in rest["data"]], rest["has_more"]) == (given[:1], False)
    refused = team.api.get("/v1/review-queue", headers=team.mallory)
    assert refused.status_code == 403
    assert team.api.get("/v1/review-queue?after=fb_x", headers=team.eve).status_code == 400
