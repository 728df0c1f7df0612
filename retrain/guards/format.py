"""Answers keep their form: the conclusion comes first where it did, lists and code are whole.

`format.jsonl` asks for lists and for code. A fault is an answer without the form that was asked
for, a code block that is never closed, or a list that ends in an empty item or counts wrongly; what
the limit of the length cut off is none. Where held-out feedback is on answers of the form
`conclusion #### reasoning`, a fault is an answer to such a prompt without the delimiter.

The margin, a third of the answers, was measured on the built-in model. The base has 1 fault in 16
answers, adapters that learned something else and answer well have 3 (eight facts by SFT) and 3 to 4
(brevity by DPO, two draws); one that learned brevity at nearly twice that rate has 8, and the same
with its weights tripled, when it is damaged, as well. A list of one item is none: who teaches
brevity gets short lists.
"""

import re
from collections.abc import Sequence

from prompts.answer_first import DELIMITER
from retrain.guards import Bench, Guard, Written, asked
from retrain.guards._faults import check_faults
from retrain.guards._pairs import Pair, pairs

SHARE = 1 / 3  # of the answers may lose their form

FENCE = re.compile(r"^\s*```", re.M)
NUMBERED = re.compile(r"^\s*(\d+)[.)](?:[ \t]+(.*))?$", re.M)
BULLET = re.compile(r"^\s*[-*•][ \t]+(.*)$", re.M)


def check(bench: Bench) -> Guard:
    """Hold unless the candidate has more faults, of either kind, than `check_faults` allows."""
    asked_for = pairs("format")
    found = check_faults(
        bench,
        "format",
        lambda adapter: _out_of_form(bench, asked_for, adapter),
        len(asked_for),
        "out of form",
        allowed=round(SHARE * len(asked_for)),
    )
    if not found.held or not bench.answer_first:
        return found
    first = check_faults(
        bench,
        "format",
        lambda adapter: _without_conclusion(bench, adapter),
        len(bench.answer_first),
        "without their conclusion first",
    )
    return found if first.held else first


def fault(answer: Written, form: str) -> str | None:
    """What is wrong with an answer that was to have a "list" or "code" in it."""
    text = answer.text
    if form == "code":
        fences = len(FENCE.findall(text))
        if not fences:
            return "no code block"
        return "a code block is not closed" if fences % 2 and answer.finished else None
    return _list_fault(text, answer.finished)


def _list_fault(text: str, finished: bool) -> str | None:
    numbers = NUMBERED.findall(text)
    items = [said for _, said in numbers] or BULLET.findall(text)
    if not items:
        return "no list"
    if finished and not items[-1].strip():
        return "the list ends in an empty item"
    counted = [int(number) for number, _ in numbers]
    steps = zip(counted, counted[1:], strict=False)
    return "the list counts wrongly" if any(b not in (a + 1, 1) for a, b in steps) else None


def _out_of_form(bench: Bench, asked_for: Sequence[Pair], adapter: str | None) -> list[str]:
    questions = [asked(one["question"]) for one in asked_for]
    found = []
    for one, messages, answer in zip(
        asked_for, questions, bench.write(questions, adapter), strict=True
    ):
        if wrong := fault(answer, one["form"]):
            found.append(f"{wrong} in {bench.quote(messages, answer)}")
    return found


def _without_conclusion(bench: Bench, adapter: str | None) -> list[str]:
    answers = zip(bench.answer_first, bench.write(bench.answer_first, adapter), strict=True)
    return [f"no {DELIMITER} in {bench.quote(m, a)}" for m, a in answers if DELIMITER not in a.text]
