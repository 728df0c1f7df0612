"""Whoever asks in a language is answered in it, as far as the champion does.

Looked at are the answers that guards share and those to the questions of `language.jsonl` that are
in a language of their prompts: what nobody here writes is not held against a candidate. The
built-in model knows English alone, and whether it meets a Chinese question with something like
Chinese is chance. An answer is strange when it is surely in another language than its question
(`retrain.curate.language`); what is short, code, or near to several languages is not.
"""

from retrain.curate.language import language
from retrain.guards import Bench, Guard, Messages, asked
from retrain.guards._faults import check_faults
from retrain.guards._pairs import pairs


def check(bench: Bench) -> Guard:
    """Hold unless the candidate has more strange answers than `check_faults` allows."""
    asked_in = _languages(bench)
    return check_faults(
        bench,
        "language",
        lambda adapter: _strange(bench, asked_in, adapter),
        len(asked_in),
        "in another language",
    )


def _languages(bench: Bench) -> list[tuple[Messages, str]]:
    """The prompts whose language is sure, with it."""
    shared = [(messages, language(messages[-1]["content"])) for messages in bench.sample()]
    known = [(messages, found) for messages, found in shared if found]
    spoken = {found for _, found in known}
    own = [one for one in pairs("language") if one["language"] in spoken]
    return [(asked(one["question"]), str(one["language"])) for one in own] + known


def _strange(bench: Bench, asked_in: list[tuple[Messages, str]], adapter: str | None) -> list[str]:
    answers = bench.write([messages for messages, _ in asked_in], adapter)
    found = []
    for (messages, wanted), answer in zip(asked_in, answers, strict=True):
        if (given := language(answer.text)) not in (None, wanted):
            found.append(f"{given} for {wanted}, {bench.quote(messages, answer)}")
    return found
