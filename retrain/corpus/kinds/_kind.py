"""What a kind of rows is, and what most kinds have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from retrain.corpus.asking import texts
from retrain.corpus.parsing import Fit, Item, Malformed, text_in
from retrain.corpus.stage import Row

QUESTION, ANSWER = 200, 800  # characters, at most, where a schema is held to
TURN = ("user", "assistant")
ROLES = {"human": "user", "ai": "assistant", "bot": "assistant", "model": "assistant"}

Example = dict[str, Any]
Messages = list[dict[str, str]]


class Claim(NamedTuple):
    """An answer to a question, and the text that has to bear it out; None where none has to."""

    question: str
    answer: str
    content: str | None


def one_claim(row: Row, content: str | None) -> Iterable[Claim]:
    return [Claim(row["question"], row["answer"], content)]


def exchanges(messages: Messages, content: str | None) -> Iterable[Claim]:
    """A claim for each answer; what is asked is all that the user said so far."""
    for at in range(1, len(messages), 2):
        asked = "\n".join(message["content"] for message in messages[:at:2])
        yield Claim(asked, messages[at]["content"], content)


def one_example(row: Row, system: str) -> dict[str, list[Example]]:
    """A question and its answer for dataset sft."""
    return {"sft": [{"prompt": asked(row["question"], system), "completion": said(row["answer"])}]}


def asked(question: str, system: str) -> Messages:
    """The messages that an answer follows."""
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": question}]


def said(answer: str) -> Messages:
    return [{"role": "assistant", "content": answer}]


def turns_in(item: Item, key: str, reason: str) -> Messages:
    """The messages under `key`, in which user and assistant take turns, the user first.

    They are asked for as pairs, in which no role can be wrong, and read as messages, too. Raises
    Malformed with the reason.
    """
    found = item.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Malformed(reason)
    told = [message for one in found for message in _messages(one, reason)]
    wanted = [*TURN] * (len(told) // 2)
    if not told or [message["role"] for message in told] != wanted:
        raise Malformed(reason)
    return told


def turns_schema(least: int, most: int) -> dict[str, Any]:
    """The schema of a list of that many questions with their answers."""
    one = texts(user=QUESTION, assistant=ANSWER)
    return {"type": "array", "items": one, "minItems": least, "maxItems": most}


def _messages(one: Item, reason: str) -> Messages:
    if "role" not in one:
        return [{"role": role, "content": text_in(one, role, reason)} for role in TURN]
    role = str(one["role"]).strip().casefold()
    return [{"role": ROLES.get(role, role), "content": text_in(one, "content", reason)}]


@dataclass(frozen=True)
class Kind:
    """A kind of rows. What is left out is as for a question and its answer."""

    items: str  # the list that an answer of the teacher has
    item: Mapping[str, Any]  # the schema of one
    tokens: int  # room for one
    fit: Fit  # one as a row has it; raises Malformed
    teaches: Sequence[str] = ("sft",)  # the datasets of its examples
    texts: Sequence[str] = ("question", "answer")  # of a row, in which personal data is masked
    most: int | None = None  # of them about a unit; None: as many as are asked for
    asks: Callable[[Row], str] = lambda row: str(row["question"])  # rows that ask alike are alike
    claims: Callable[[Row, str | None], Iterable[Claim]] = one_claim
    amiss: Callable[[Row], str | None] = lambda row: None  # another reason why a row does not count
    examples: Callable[[Row, str], Mapping[str, Sequence[Example]]] = one_example  # with `system`
    # What the prompt is told besides, of a unit and its document; None: there is nothing to ask.
    about: Callable[[Row, Row], Mapping[str, Any] | None] | None = None
    seeded: bool = False  # made of seeds (`retrain.corpus.instruct`), not of units
