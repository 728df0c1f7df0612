"""Stage 4: which answers count. Each that does not is in `dropped.jsonl` with its reason.

Rules decide first, then the teacher where it is asked to (`retrain.corpus.verdict`).

A share of those that count, drawn by a hash, is in `review.jsonl` besides, for people to look at.
Personal data is masked, exact and near duplicates are told by the terms of `retrain.terms`, as in a
run (see `retrain.curate.near_duplicates` for how far these carry), and languages by
`retrain.curate.language`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain.corpus import kinds
from retrain.corpus.profanity import swears
from retrain.corpus.stage import Row, Tick, lines_of, made_by, read_manifest
from retrain.corpus.verdict import Verdicts, reasons as reasons_of
from retrain.curate.language import language
from retrain.curate.near_duplicates import ALIKE
from retrain.manifest import sha256, write_json, write_rows
from retrain.pii import find
from retrain.terms import Terms, exact, near, terms

NAME, OUTPUT = "check", "rows.jsonl"
DROPPED, REVIEW = "dropped.jsonl", "review.jsonl"
# Of an answer's terms, which its unit or question has. Measured on 399 questions with four answers
# each (FineGrainedRLHF): 96 % of first answers have as much in common with the three others, which
# are by other writers, and 3 % of the answers to another question.
SUPPORTED = 0.5
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SHORTEST, LONGEST = 3, 4000  # characters
REVIEWED = 0.1
# What a question says that leans on a passage which its reader does not have.
LEANS = re.compile(
    r"\b(?:(?:the|this|that|above|following|given|provided) (?:passage|text|document|article|"
    r"excerpt|paragraph|table|section|context|source|example|snippet|information provided)|"
    r"(?:mentioned|described|stated|listed|given|shown) (?:above|below|here)|according to "
    r"(?:the|this) (?:author|passage|text|table|document|article))\b"
    r"|本文|[这该此上下][段篇个]?(?:文章|段落|文本|文档|表格|段话|文)|文中|表中|段落中|上述|"
    r"根据(?:以上|上面|下面|所给|提供的)",
    re.IGNORECASE,
)
PROMPT = re.compile(
    r"</?passage>|^# (?:Task|Criteria|Output|Input|任务|标准|输出)|training data|训练数据|"
    r"\bas an? (?:AI|language model)\b|作为(?:一个)?(?:AI|人工智能|语言模型)|"
    r"until when is the reading room open|on fridays the reading room|阅览室周五开到|"
    r"two things that a library card is good for|借书证的两个用处",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass
class Checked:
    """All answers, why each does not count (None: it does), and the texts of their units."""

    answers: list[Row]
    reasons: list[str | None]
    contents: dict[str, str]

    @property
    def counting(self) -> list[int]:
        """The places of those that count so far."""
        return [index for index, reason in enumerate(self.reasons) if reason is None]


def check(
    folder: Path,
    tick: Tick = lambda stage, done, total: None,
    verdicts: Verdicts | None = None,
) -> dict[str, Any]:
    """Check all answers of `folder`; gives the stage's manifest, with a rate for each reason.

    With `verdicts` the teacher is asked about those that the other checks let through, which may
    raise Stopped or OverBudget: the same call goes on.
    """
    before, cut = made_by(folder, "generate"), read_manifest(folder, "segment")
    made_of = {"answers": before["sha256"], "units": cut and cut["sha256"]}
    made_of["verdicts"] = verdicts and verdicts.made_of
    known = read_manifest(folder, NAME)
    if known is not None and known["made_of"] == made_of and (folder / OUTPUT).exists():
        return known
    (folder / f"{NAME}.json").unlink(missing_ok=True)
    checked = check_by_rules(folder, tick)
    facts = _judge(folder, checked, verdicts, tick) if verdicts else {"troubles": []}
    told = _write(folder, checked.answers, checked.reasons)
    inputs = len(checked.answers)
    manifest = {"stage": NAME, "made_of": made_of, "inputs": inputs, **facts, **told}
    write_json(folder / f"{NAME}.json", manifest)
    return manifest


def check_by_rules(folder: Path, tick: Tick = lambda stage, done, total: None) -> Checked:
    """What can be told without a teacher."""
    answers = list(lines_of(folder / "answers.jsonl"))
    contents = _contents(folder, {row["unit"] for row in answers if row["unit"]})
    reasons = []
    for number, row in enumerate(answers, 1):
        tick(NAME, number, len(answers))
        reasons.append(why_not(row, contents[row["unit"]] if row["unit"] else None))
    _mark_duplicates(answers, reasons)
    return Checked(answers, reasons, contents)


def estimate_verdicts(folder: Path, verdicts: Verdicts) -> dict[str, Any]:
    """What the teacher's verdicts are left to cost; nothing is asked."""
    checked = check_by_rules(folder)
    rows = [checked.answers[index] for index in checked.counting]
    return verdicts.estimate(folder, rows, checked.contents)


def _judge(folder: Path, checked: Checked, verdicts: Verdicts, tick: Tick) -> dict[str, Any]:
    """Mark what the teacher is against; gives what its answers were like and cost."""
    places = checked.counting
    rows = [checked.answers[index] for index in places]
    told = verdicts.ask(folder, rows, checked.contents, tick)
    against = reasons_of(folder, rows, checked.contents)
    for index, reason in zip(places, against, strict=True):
        checked.reasons[index] = reason
    return {name: told[name] for name in ("troubles", "teacher", "notes")}


def why_not(row: Row, content: str | None) -> str | None:
    """Why a row does not count, by its kind; None where it does. `content` is its unit's."""
    kind = kinds.of(row)
    told = (amiss(c._asdict(), c.content) for c in kind.claims(row, content))
    return kind.amiss(row) or next((reason for reason in told if reason), None)


def amiss(row: Row, content: str | None) -> str | None:
    """Why the answer does not count; None where it does. `content` has to bear it out, if any."""
    question, answer = row["question"], row["answer"]
    for text in (question, answer):
        if not SHORTEST <= len(text) <= LONGEST:
            return "too short or too long"
    if PROMPT.search(question) or PROMPT.search(answer):
        return "says what the prompt says"
    if LEANS.search(question) or LEANS.search(answer):
        return "leans on the passage"
    if swears(question) or swears(answer):
        return "swears"
    if content is not None and _is_foreign(question, answer, content):
        return "in another language than the source"
    if question.strip().casefold() == answer.strip().casefold():
        return "answers with the question"
    return None if content is None else _unsupported(question, answer, content)


def _unsupported(question: str, answer: str, content: str) -> str | None:
    """Whether the answer says what the source does not: numbers and names, or too many words."""
    if _numbers(f"{question}\n{answer}") - _numbers(content):
        return "a number that the source does not have"
    source, said = terms(content) | terms(question), terms(answer)
    if said and len(said & source) < SUPPORTED * len(said):
        return "not supported by the source"
    asked = terms(question)
    if asked and not asked & terms(content):
        return "a question about something else"
    return None


def _numbers(text: str) -> set[str]:
    return {found.replace(",", "") for found in NUMBER.findall(text)}


def _is_foreign(question: str, answer: str, content: str) -> bool:
    wanted, found = language(content), language(f"{question}\n{answer}")
    return wanted is not None and found is not None and wanted != found


def _contents(folder: Path, wanted: set[str]) -> dict[str, str]:
    rows = lines_of(folder / "units.jsonl") if wanted else iter(())
    return {row["id"]: row["content"] for row in rows if row["id"] in wanted}


def _mark_duplicates(answers: Sequence[Row], reasons: list[str | None]) -> None:
    """Of answers to nearly the same question, the first one stays: nothing tells which is better.

    Questions that differ in a number or a name are not the same, nor are rows of two kinds.
    """
    groups: dict[tuple[str, Terms], list[int]] = {}
    asked = [kinds.of(row).asks(row) for row in answers]
    for index, row in enumerate(answers):
        if reasons[index] is None:
            key = row.get("kind", kinds.DEFAULT), exact(asked[index])
            groups.setdefault(key, []).append(index)
    for members in groups.values():
        leaders = near([terms(asked[index]) for index in members], ALIKE)
        for place, leader in enumerate(leaders):
            if leader != place:
                reasons[members[place]] = "asked nearly so before"


def _write(folder: Path, answers: Sequence[Row], reasons: Sequence[str | None]) -> dict[str, Any]:
    paired = list(zip(answers, reasons, strict=True))
    kept = [masked(row) for row, reason in paired if reason is None]
    hidden = sum(row.pop("masked") for row in kept)
    dropped = Counter(reason for reason in reasons if reason is not None)
    write_rows(folder / DROPPED, _with_reasons(paired))
    write_rows(folder / REVIEW, (row for row in kept if _drawn(row["id"])))
    write_rows(folder / OUTPUT, kept)
    return {
        "rows": len(kept),
        "dropped": dict(dropped.most_common()),
        "rates": {why: round(n / len(answers), 4) for why, n in dropped.most_common()},
        "masked": hidden,
        "sha256": sha256(folder / OUTPUT),
    }


def _with_reasons(paired: Iterable[tuple[Row, str | None]]) -> Iterator[Row]:
    return ({"reason": reason, **row} for row, reason in paired if reason is not None)


def masked(row: Row) -> Row:
    """The row with personal data masked; `masked` says whether there was any."""
    texts = {name: _hidden(row[name]) for name in kinds.of(row).texts}
    return {**row, **texts, "masked": any(text != row[name] for name, text in texts.items())}


def _hidden(said: Any) -> Any:
    """A text, or messages, without personal data."""
    if isinstance(said, str):
        return _without_personal(said)
    return [{**message, "content": _without_personal(message["content"])} for message in said]


def _without_personal(text: str) -> str:
    for found in reversed(find(text)):
        text = f"{text[: found.start]}[{found.kind}]{text[found.end :]}"
    return text


def _drawn(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < REVIEWED * 2**32
