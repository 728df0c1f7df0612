"""Tasks for the teacher: many at once, answers in order, all within one folder's budget.

What the teacher writes is held to a JSON schema where its server can do that; else it is parsed,
repaired where it is malformed, and asked for once more where that is in vain.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prompts import Prompt, load_prompt
from retrain.corpus.parsing import Fit, Parsed, parse
from retrain.corpus.stage import Note, Row, Stage
from retrain.corpus.teacher import Request, Teacher, Unanswered
from retrain.corpus.teacher.account import Account, Bound
from retrain.curate.language import language
from serve.settings import Settings

AHEAD = 4  # tasks a thread that wait for their turn
TRIES = 2
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Form:
    """What an answer is: an object with the list `name` of at most `most` items.

    `fit` gives an item as a row has it, or raises Malformed; `tokens` is the room for an item.
    """

    name: str
    item: Mapping[str, Any]
    most: int
    tokens: int
    fit: Fit

    @property
    def schema(self) -> dict[str, Any]:
        items = {"type": "array", "items": self.item, "minItems": 0, "maxItems": self.most}
        return closed({self.name: items})


@dataclass(frozen=True)
class Task:
    """A prompt, filled in, about `subject`; `place` tells a person where that is."""

    subject: Row
    place: str
    prompt: Prompt
    values: Mapping[str, Any]
    form: Form

    def request(self, draw: int = 0) -> Request:
        """The request; the first line of the prompt is the system message."""
        system, _, user = self.prompt.render(**self.values).partition("\n")
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": user.strip()},
        ]
        room = 64 + self.form.tokens * self.form.most
        return Request(messages, self.form.schema, room, draw=draw)


@dataclass(frozen=True)
class Answer:
    """The items of an answer, what happened on the way, and why there are none."""

    items: Sequence[Row]
    notes: Sequence[Note]
    fault: str = ""


def as_it_is(answer: Answer) -> Answer:
    return answer


@dataclass(frozen=True)
class Round:
    """Tasks to ask at once, and what becomes of their answers, in order.

    `again`: the answers that an earlier run got are needed as well, for the rounds that follow.
    """

    tasks: Iterable[Task]
    take: Callable[[Answer], Answer] = as_it_is
    again: bool = False


def ask_all(
    teacher: Teacher, tasks: Iterable[Task], at_once: int
) -> Generator[tuple[Task, Answer], None, None]:
    """Each task with its answer, in order, however many are asked at once.

    Raises Stopped or OverBudget.
    """
    pool = ThreadPoolExecutor(at_once)
    waiting: deque[tuple[Task, Future[Answer]]] = deque()
    try:
        for task in tasks:
            waiting.append((task, pool.submit(answer, teacher, task)))
            if len(waiting) >= AHEAD * at_once:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    except BaseException:
        teacher.close()
        raise
    finally:  # also on a stop: what is under way is paid for, so its answer is waited for
        pool.shutdown(wait=True, cancel_futures=True)


def answer(teacher: Teacher, task: Task) -> Answer:
    """What came of a task. Raises Stopped or OverBudget."""
    notes: list[Note] = []
    parsed = Parsed("empty")
    for draw in range(TRIES):
        try:
            parsed = parse(teacher.ask(task.request(draw)), task.form.name, task.form.fit)
        except Unanswered as error:
            return Answer((), [*notes, Note("unanswered")], str(error))
        notes += [Note(parsed.how), *map(Note, parsed.unfit)]
        if parsed.items or parsed.how in ("whole", "refused"):
            break
    nothing = not parsed.items and parsed.how != "whole"
    fault = f"the teacher's answer has no {task.form.name} ({parsed.how})." if nothing else ""
    return Answer(parsed.items, notes, fault)


@dataclass(frozen=True)
class Lesson:
    """A stage at work whose rows the teacher writes, within the budget of the corpus."""

    stage: Stage
    teacher: Teacher
    account: Account
    at_once: int

    @property
    def label(self) -> str:
        """What its progress says: the stage, and what was spent so far."""
        return f"{self.stage.name}, {spent(self.account)}"

    def ask(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Answer], None, None]:
        """Each task with its answer, as `ask_all` gives them."""
        return ask_all(self.teacher, tasks, self.at_once)

    def finish(self) -> dict[str, Any]:
        """The stage's manifest, with the bill."""
        return self.stage.finish(teacher=bill(self.account), notes=dict(self.stage.summary.counts))


@contextmanager
def lesson(stage: Stage, settings: Settings) -> Iterator[Lesson]:
    """Open the stage, the account of its corpus and the teacher of `settings`."""
    with account_of(stage.folder, settings) as account:
        teacher = Teacher(settings, account)
        with stage:
            yield Lesson(stage, teacher, account, settings.teacher_concurrency)


@contextmanager
def account_of(folder: Path, settings: Settings) -> Iterator[Account]:
    """What the corpus paid for so far; all stages share it."""
    account = Account(folder / "teacher.db", settings)
    try:
        yield account
    finally:
        account.close()


def estimate(folder: Path, settings: Settings, rounds: Iterable[Round]) -> dict[str, Any]:
    """What is left to ask and to pay: about, and at most; nothing is asked."""
    with account_of(folder, settings) as account:
        asked, likely, most = set[str](), Bound(0, 0), Bound(0, 0)
        for one, task in ((each, task) for each in rounds for task in each.tasks):
            request = task.request()
            name = request.hash_for(settings.teacher_model)
            known = account.known(name)
            if known is not None and one.again:
                one.take(Answer(parse(known, task.form.name, task.form.fit).items, ()))
            elif known is None and name not in asked:
                likely, most = likely + request.likely, most + request.bound
                asked.add(name)
        cost = account.prices.cost
        return {
            "requests": len(asked),
            "tokens": likely.total,
            "tokens_at_most": most.total,
            "cost": cost(account.spent + likely) - account.money,
            "cost_at_most": cost(account.spent + most) - account.money,
            "spent": account.money,
            "spent_tokens": account.spent.total,
        }


def bill(account: Account) -> dict[str, Any]:
    """What was paid for the corpus so far, for a manifest."""
    spent = account.spent
    return {
        "tokens_in": spent.tokens_in,
        "tokens_out": spent.tokens_out,
        "cost": round(account.money, 6),
        "without_an_answer": dict(account.lost()),
    }


def spent(account: Account) -> str:
    """The running count and the budget, for people: `1.2M of 5M tokens, 0.31 of 5`."""
    paid, limits = account.spent.total, account.limits
    tokens = f"{short(paid)} of {short(limits.tokens)}" if limits.tokens else short(paid)
    money = f"{account.money:.4g} of {limits.money:g}" if limits.money else f"{account.money:.4g}"
    return f"{tokens} tokens, {money} spent"


def short(number: int) -> str:
    """A number of three digits: 950, 1.23k, 45.6M."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def prompt_language(text: str) -> str:
    """The language of the prompt for a text: Chinese, or English for all others."""
    found = language(text) or ""
    return found if found in LANGUAGES else LANGUAGES[0]


@cache
def prompt_of(kind: str, name: str) -> Prompt:
    """The prompt of a kind in a language."""
    return load_prompt(f"corpus/{kind}/{name}")


def prompt_hashes(kind: str) -> dict[str, str]:
    return {name: prompt_of(kind, name).hash for name in LANGUAGES}


def closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with all of these and nothing else."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def texts(**longest: int) -> dict[str, Any]:
    """The schema of an object of texts, each with its most characters."""
    return closed({name: text(most) for name, most in longest.items()})


def text(most: int) -> dict[str, Any]:
    """The schema of a text that says something."""
    return {"type": "string", "minLength": 1, "maxLength": most}


def _next(waiting: deque[tuple[Task, Future[Answer]]]) -> tuple[Task, Answer]:
    task, future = waiting.popleft()
    return task, future.result()
