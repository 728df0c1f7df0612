"""The teacher against a scripted server: every fault, the cache, and the budget to the token."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from teacher_server import Body, Play, Script, TeacherServer

from retrain.corpus import teacher as teachers
from retrain.corpus.stage import CorpusError
from retrain.corpus.teacher import Request, Stopped, Teacher, Unanswered
from retrain.corpus.teacher.account import Account, Bound, OverBudget, Prices
from retrain.corpus.teacher.wire import Reply
from serve.settings import Settings, load_settings

SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "BACKOFF", 0.001)


def options(url: str, **more: Any) -> Settings:
    given = {"teacher_url": url, "teacher_model": "sage", "teacher_seconds": 5.0, **more}
    return load_settings(**given)


@contextmanager
def teacher_of(folder: Path, url: str, **more: Any) -> Iterator[Teacher]:
    settings = options(url, **more)
    account = Account(folder / "teacher.db", settings)
    try:
        yield Teacher(settings, account)
    finally:
        account.close()


def ask(text: str, **more: Any) -> Request:
    return Request([{"role": "user", "content": text}], **more)


def once(*plays: Play) -> Script:
    """The plays in order for the same request, the last one again and again."""
    return lambda body, count: plays[min(count, len(plays)) - 1]


def test_an_answer_is_paid_for_once_and_kept(tmp_path: Path) -> None:
    with TeacherServer(once(Play("Forty two."))) as server:
        with teacher_of(tmp_path, server.url, teacher_api_key="k") as one:
            first = one.ask(ask("Six by seven?"))
            assert (first.text, first.finish) == ("Forty two.", "stop")
            assert one.ask(ask("Six by seven?")) == first
            assert one.account.spent == Bound(server.billed["in"], server.billed["out"])
        with teacher_of(tmp_path, server.url) as another:  # a later process
            assert another.ask(ask("Six by seven?")) == first
            assert another.ask(ask("Six by seven?", draw=1)).text == "Forty two."
        assert len(server.asked) == 2
        assert server.login is None and server.asked[1]["seed"] == 1
        assert len(set(server.keys)) == 2


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        (Play("busy", status=500), "server errors"),
        (Play("busy", status=503), "server errors"),
        (Play("slow down", status=429, headers={"retry-after": "0.01"}), "told to wait (429)"),
        (Play("slow down", status=429), "told to wait (429)"),
        (Play("one two three", breaks_after=2), "broke off"),
        (Play("no object", raw=b"data: [1]\n\n"), "not understood"),
        (Play("no JSON", raw=b"data: {\n\n"), "not understood"),
    ],
)
def test_a_passing_fault_is_tried_again(fault: Play, counted: str, tmp_path: Path) -> None:
    with TeacherServer(once(fault, fault, Play("Well."))) as server:
        with teacher_of(tmp_path, server.url) as teacher:
            assert teacher.ask(ask("How?")).text == "Well."
            assert teacher.tally.counts == {counted: 2, "answered": 1}
            assert teacher.account.spent.total >= server.total


def test_an_answer_that_breaks_off_is_charged_in_full(tmp_path: Path) -> None:
    request = ask("How?", max_tokens=50)
    with TeacherServer(once(Play("one two three", breaks_after=2), Play("Well."))) as server:
        with teacher_of(tmp_path, server.url) as teacher:
            teacher.ask(request)
            assert teacher.account.lost().total() == request.bound.total
            whole = teacher.account.spent.total - request.bound.total
            assert whole == 7 + 1 + 1


def test_a_slow_answer_is_waited_for_and_a_silent_one_is_not(tmp_path: Path) -> None:
    def script(body: Body, count: int) -> Play:
        silent = "silent" in body["messages"][0]["content"] and count == 1
        return Play("a b c d e", seconds=3.0 if silent else 0.15)

    with TeacherServer(script) as server:
        with teacher_of(tmp_path, server.url, teacher_seconds=1.5) as teacher:
            assert teacher.ask(ask("slow")).text == "a b c d e"
            assert teacher.ask(ask("silent")).text == "a b c d e"
            assert teacher.tally.counts["took too long"] == 1


def test_ends_are_told_apart(tmp_path: Path) -> None:
    def script(body: Body, count: int) -> Play:
        return {
            "cut": Play("a b c d e f g h"),
            "filter": Play("No", finish="content_filter"),
            "refuse": Play("I cannot", refusal=True),
            "whole": Play("a b", streams=False),
        }[body["messages"][0]["content"]]

    with TeacherServer(script) as server, teacher_of(tmp_path, server.url) as teacher:
        cut = teacher.ask(ask("cut", max_tokens=4))
        assert (cut.text, cut.cut_off, cut.refused) == ("a b c d", True, False)
        assert teacher.ask(ask("filter")).refused
        assert teacher.ask(ask("refuse")) == Reply("I cannot", "refusal", 8, 2)
        assert teacher.ask(ask("whole")).text == "a b"


@pytest.mark.parametrize(
    ("play", "said"),
    [
        (Play("bad key", status=401), "does not know the key .* Set REDRAFT_TEACHER_API_KEY"),
        (Play("no such model", status=404), "has no model 'sage' .* It has: sage"),
        (Play("you have insufficient_quota", status=429), "account is empty"),
        (Play("pay", status=402), "account is empty"),
    ],
)
def test_what_no_request_gets_past_stops_all(play: Play, said: str, tmp_path: Path) -> None:
    with TeacherServer(once(play)) as server, teacher_of(tmp_path, server.url) as teacher:
        with pytest.raises(Stopped, match=said):
            teacher.ask(ask("How?"))
        with pytest.raises(Stopped):
            teacher.ask(ask("And this?"))
        assert len(server.asked) == 1
        assert teacher.account.spent.total == 0


def test_a_server_that_is_away_stops_after_a_few_requests(tmp_path: Path) -> None:
    with teacher_of(tmp_path, "http://127.0.0.1:9/v1") as teacher:
        for text in "ab":
            with pytest.raises(Unanswered, match="no answer in 6 attempts"):
                teacher.ask(ask(text))
        with pytest.raises(Stopped, match="gave no answer to 3 requests in a row"):
            teacher.ask(ask("c"))
        assert teacher.account.spent.total == 0


def test_one_refused_request_does_not_stop_the_others(tmp_path: Path) -> None:
    def script(body: Body, count: int) -> Play:
        bad = body["messages"][0]["content"] == "bad"
        return Play("too long for my context", status=400) if bad else Play("Well.")

    with TeacherServer(script) as server, teacher_of(tmp_path, server.url) as teacher:
        with pytest.raises(Unanswered, match="too long for my context"):
            teacher.ask(ask("bad"))
        assert teacher.ask(ask("good")).text == "Well."


def test_a_schema_goes_in_the_form_that_the_server_knows(tmp_path: Path) -> None:
    def script(body: Body, count: int) -> Play:
        kind = body.get("response_format", {}).get("type")
        if "max_tokens" in body:
            return Play("Use max_completion_tokens instead of max_tokens.", status=400)
        if kind:
            return Play(f"response_format {kind} is not supported", status=400)
        return Play('{"a": "b"}')

    with TeacherServer(script) as server, teacher_of(tmp_path, server.url) as teacher:
        assert teacher.ask(ask("How?", schema=SCHEMA)).text == '{"a": "b"}'
        kinds = [body.get("response_format", {}).get("type") for body in server.asked]
        assert kinds == [*["json_schema"] * 3, "json_object", None]
        schemas = [body["response_format"]["json_schema"]["schema"] for body in server.asked[1:3]]
        plain = {"type": "object", "properties": {"a": {"type": "string"}}}
        assert schemas == [SCHEMA, plain]
        teacher.ask(ask("And how?", schema=SCHEMA))
        assert len(server.asked) == 6  # it is known now


@pytest.mark.parametrize("at_once", [1, 16])
def test_the_budget_in_tokens_is_never_passed(at_once: int, tmp_path: Path) -> None:
    def script(body: Body, count: int) -> Play:
        number = int(body["messages"][0]["content"].split()[0])
        if number % 7 == 0 and count == 1:
            return Play("a b c", breaks_after=1)
        return Play(" ".join(["word"] * (number % 30)) or "none", usage=number % 5 != 0)

    budget = 6000
    with TeacherServer(script) as server:
        with teacher_of(tmp_path, server.url, teacher_budget_tokens=budget) as teacher:
            requests = [ask(f"{number} of many", max_tokens=30) for number in range(300)]
            with ThreadPoolExecutor(at_once) as pool:
                done = list(pool.map(lambda r: outcome(teacher, r), requests))
            assert "OverBudget" in done
            assert server.total <= teacher.account.spent.total <= budget
            assert budget - teacher.account.spent.total < max(r.bound.total for r in requests)
        kept = {i for i, what in enumerate(done) if what == "Reply"}
        before = len(server.asked)
        with teacher_of(tmp_path, server.url, teacher_budget_tokens=0) as teacher:
            assert {outcome(teacher, requests[i]) for i in kept} == {"Reply"}
            assert len(server.asked) == before  # more budget, and nothing is paid twice
            assert outcome(teacher, requests[-1]) == "Reply"


def outcome(teacher: Teacher, request: Request) -> str:
    try:
        return type(teacher.ask(request)).__name__
    except Exception as error:
        return type(error).__name__


def test_the_budget_in_money_counts_prices_and_what_is_free(tmp_path: Path) -> None:
    prices = Prices(tokens_in=1.0, tokens_out=4.0, free=0)
    assert prices.cost(Bound(500_000, 250_000)) == pytest.approx(1.5)
    free = Prices(tokens_in=1.0, tokens_out=4.0, free=100_000)
    assert free.cost(Bound(60_000, 0)) == 0
    assert free.cost(Bound(500_000, 250_000)) == pytest.approx(1.4)
    more = {"teacher_price_in": 1000, "teacher_price_out": 3000, "teacher_budget": 1.0}
    with TeacherServer(once(Play("a b c d e"))) as server:
        with teacher_of(tmp_path, server.url, **more) as teacher:
            with pytest.raises(OverBudget, match="REDRAFT_TEACHER_BUDGET 1, and the next request"):
                for number in range(1000):
                    teacher.ask(ask(f"Question {number}", max_tokens=20))
            billed = server.billed["in"] * 1e-3 + server.billed["out"] * 3e-3
            assert teacher.account.money == pytest.approx(billed)
            assert 0.8 < teacher.account.money <= 1.0


def test_what_was_under_way_when_a_process_died_counts_as_spent(tmp_path: Path) -> None:
    settings = options("http://127.0.0.1:9/v1")
    dead = Account(tmp_path / "teacher.db", settings)
    dead.reserve("a", Bound(100, 20))
    again = Account(tmp_path / "teacher.db", settings)
    assert again.spent == Bound(100, 20)
    assert again.lost() == {"killed": 120}
    for account in (dead, again):
        account.close()


def test_equal_requests_at_once_are_paid_for_once(tmp_path: Path) -> None:
    with TeacherServer(once(Play("a b", seconds=0.1))) as server:
        with teacher_of(tmp_path, server.url) as teacher, ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: teacher.ask(ask("How?")).text, range(8)))
        assert found == {"a b"} and len(server.asked) == 1


def test_requests_go_out_no_faster_than_they_may(tmp_path: Path) -> None:
    with TeacherServer(once(Play("a"))) as server:
        limit = {"teacher_requests_per_minute": 300}  # one in 200 ms
        with teacher_of(tmp_path, server.url, **limit) as teacher, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: teacher.ask(ask(f"{n}?")), range(8)))
        assert server.times[-1] - server.times[0] > 1.2


def test_a_teacher_that_is_not_set_is_named(tmp_path: Path) -> None:
    for url, said in (("", "There is no teacher. Set REDRAFT_TEACHER_URL"), ("here", "http")):
        with pytest.raises(CorpusError, match=said), teacher_of(tmp_path, url):
            pass
