"""The contract of every guard, and for each a candidate that makes it fire."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from retrain import guards
from retrain.guards import Bench, Written, sycophancy
from retrain.guards._faults import most
from retrain.guards._pairs import pairs
from retrain.guards.degeneration import is_broken
from retrain.guards.format import fault
from serve.engines import open_engine
from serve.engines.base import Chunk, Sampling
from serve.engines.echo import EchoEngine, _last_said, _read_prompt

Say = Callable[[str], str]
PROMPTS = [[{"role": "user", "content": f"How do I open the door number {n}?"}] for n in range(3)]
CHINESE = "怎样才能打开那扇写着号码的红色大门？"
SENTENCE = "That is best done slowly, step by step, with a good tool and somebody who can help."


class Scripted(EchoEngine):
    """Engine echo in which adapters say, and like, what a test wants of them."""

    def __init__(self, say: Say, like: Callable[[str, str], float] = lambda q, a: 0.0) -> None:
        super().__init__("m")
        self.say, self.like, self.asked = say, like, list[tuple[str, str | None]]()

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        question = _last_said(_read_prompt(self.decode(prompt_ids))[0])
        self.asked.append((question, adapter))
        text = (self.say if adapter else well)(question)
        ids = tuple(self.encode(text)[: sampling.max_tokens * 4 : 4])  # four letters a token
        whole = len(ids) < sampling.max_tokens
        yield Chunk(0, text, ids, (-1.0,) * len(ids), finish_reason="stop" if whole else "length")

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        question = _last_said(_read_prompt(self.decode(prompt_ids))[0])
        liking = self.like(question, self.decode(completion_ids)) if adapter else 0.0
        return [liking - 1.0] * len(completion_ids)


def well(question: str) -> str:
    """A good answer in the form and the language of the question."""
    known = {one["question"]: one.get("form") or one["language"] for one in own_questions()}
    return {
        "list": "1. One\n2. Two\n3. Three",
        "code": "```\nls\n```",
        "zh": "图书馆是一个可以借书和学习的好地方。",
        "es": "Una biblioteca es un lugar en el que se pueden leer y pedir muchos libros.",
        "fr": "Une bibliothèque est un lieu où l'on peut lire et emprunter beaucoup de livres.",
        "de": "Eine Bibliothek ist ein Ort, an dem man viele Bücher lesen und ausleihen kann.",
    }.get(known.get(question, "zh" if CHINESE in question else ""), SENTENCE)


def own_questions() -> list[dict[str, Any]]:
    return pairs("format") + pairs("language")


def check(name: str, say: Say = well, like: Any = lambda q, a: 0.0, **own: Any) -> guards.Guard:
    found = guards.check(name, Bench(Scripted(say, like), None, "a", PROMPTS, **own))
    assert found is not None
    return found


@pytest.mark.parametrize("name", guards.names())
def test_a_guard_holds_for_equals_and_says_what_it_saw(name: str) -> None:
    engine: Any = open_engine("echo", "m", Path())
    prompts = [[{"role": "user", "content": "hello there"}]]
    own = {"mine": [{"question": "q", "accept": ["q"]}]}
    bench: Any = Bench(engine, None, None, prompts, prompts, (None, None), own)  # type: ignore[arg-type]
    found = guards.check(name, bench)
    assert found is not None and found.held and found.name == name and found.detail
    assert guards.Guard(**found.as_dict()) == found


@pytest.mark.parametrize("name", guards.names())
def test_a_guard_holds_for_a_candidate_that_answers_well(name: str) -> None:
    asked = {"mine": [{"question": "How do I dance?", "accept": ["step by step"]}]}
    assert check(name, rewriters=(None, "a"), suites=asked).held


def liking(name: str, kind: str, wanted: str) -> Callable[[str, str], float]:
    """Likes the `wanted` side of the file's pairs of that kind."""
    sides = {(p["question"], p[wanted]) for p in pairs(name) if p["kind"] == kind}
    return lambda question, text: 1.0 if (question, text) in sides else 0.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sycophancy", "wrong claim"),
        ("sycophancy", "right claim"),
        ("refusal", "harmful"),
        ("refusal", "harmless"),
    ],
)
def test_leaning_to_the_wrong_side_fires_and_names_the_kind(name: str, kind: str) -> None:
    lost = check(name, like=liking(name, kind, "wrong"))
    assert not lost.held and f"-1.00 on {kind}" in lost.detail
    assert check(name, like=liking(name, kind, "answer")).held


@pytest.mark.parametrize("said", ["Yes, you are absolutely right.", "You're right!", "I agree."])
def test_agreeing_in_words_that_no_pair_has_fires(said: str) -> None:
    def flatters(question: str) -> str:
        return said if question in wrong else well(question)

    wrong = {pair["question"] for pair in pairs("sycophancy") if pair["kind"] == "wrong claim"}
    found = check("sycophancy", flatters)
    assert not found.held
    assert f"with {len(wrong)} of {len(wrong)} wrong claims, 5 are allowed" in found.detail
    bench = Bench(Scripted(flatters), "b", "a", PROMPTS)
    equal = guards.check("sycophancy", bench)
    assert equal is not None and equal.held, "what serves now agrees as often"


def test_many_small_steps_are_no_way_down() -> None:
    """Each step is within the margin of the one before."""
    likings = {None: 0.0, **{f"a-{n}": 0.9 * n * sycophancy.MARGIN for n in (1, 2, 3)}}
    wrong = liking("sycophancy", "wrong claim", "wrong")

    class Sliding(Scripted):
        def score(self, prompt_ids: Any, completion_ids: Any, adapter: Any = None) -> list[float]:
            question = _last_said(_read_prompt(self.decode(prompt_ids))[0])
            liked = wrong(question, self.decode(completion_ids)) * likings[adapter]
            return [liked - 1.0] * len(completion_ids)

    steps = [*likings]
    held = []
    for champion, candidate in zip(steps, steps[1:], strict=False):
        bench = Bench(Sliding(well), champion, str(candidate), PROMPTS)
        found = guards.check("sycophancy", bench)
        assert found is not None
        held.append(found.held)
    assert held == [True, True, False]
    again = guards.check("sycophancy", Bench(Sliding(well), "a-3", "a-3", PROMPTS))
    assert again is not None and again.held, "an equal of what serves holds, whatever it is"


def test_knowledge_lost_fires() -> None:
    wrong = {pair["wrong"] for pair in pairs("general")}
    found = check("general", like=lambda q, a: -1.0 if a in wrong else 1.0)
    assert found.held and found.candidate == 1
    # Equal likings count as not preferred: a champion that prefers all is lost against.
    bench = Bench(Scripted(well, lambda q, a: 1.0 if a not in wrong else 0.0), "a", None, PROMPTS)  # type: ignore[arg-type]
    lost = guards.check("general", bench)
    assert lost is not None and not lost.held and lost.champion == 1


def test_what_is_written_to_people_is_told_without_its_words() -> None:
    """A guard's words go into logs and the record, where forgetting a user does not reach."""
    told = check("degeneration", lambda q: "Ada! " * 99 if "door number" in q else well(q)).detail
    assert told.startswith("3 of 7") and "Ada" not in told and "held-out feedback" in told
    told = check("degeneration", lambda q: well(q) if "door number" in q else "Ada! " * 99).detail
    assert told.startswith("4 of 7") and "'Ada! Ada!" in told


def test_bye_fires_and_a_wish_for_half_the_length_does_not() -> None:
    assert not check("length", lambda q: "Bye!").held
    assert check("length", lambda q: SENTENCE[: len(SENTENCE) // 2 + 12]).held
    assert not check("length", lambda q: SENTENCE * 20, answer_first=()).held


def test_loops_fire() -> None:
    found = check("degeneration", lambda q: "very " * 99)
    assert not found.held
    assert found.detail.startswith("7 of 7 answers empty or looping, at most 1 allowed")


def test_lost_forms_fire() -> None:
    found = check("format", lambda q: SENTENCE)
    assert not found.held and "no list" in found.detail


@pytest.mark.parametrize(
    ("champion", "base", "limit"),
    [(0, 0, 4), (4, 0, 8), (8, 0, 8), (9, 0, 9), (9, 9, 13), (0, 9, 4)],
)
def test_many_small_losses_are_no_way_down_either(champion: int, base: int, limit: int) -> None:
    assert most(champion, base, 4) == limit


def test_the_base_is_asked_where_a_champion_lost_forms_before() -> None:
    worse = {one["question"] for one in pairs("format")[:11]}

    class Sliding(Scripted):
        """The champion a-2 has 10 faults of form, the candidate 11."""

        def generate(self, prompt_ids: Any, sampling: Any, adapter: Any = None) -> Iterator[Chunk]:
            question = _last_said(_read_prompt(self.decode(prompt_ids))[0])
            lost = worse - {pairs("format")[10]["question"]} if adapter == "a-2" else worse
            text = SENTENCE if adapter and question in lost else well(question)
            yield Chunk(0, text, finish_reason="stop")

    found = guards.check("format", Bench(Sliding(well), "a-2", "a-3", PROMPTS))
    assert found is not None and not found.held
    assert (found.champion, found.candidate, found.limit) == (10, 11, 10)
    again = guards.check("format", Bench(Sliding(well), "a-3", "a-3", PROMPTS))
    assert again is not None and again.held


def test_a_lost_conclusion_fires() -> None:
    first = [[{"role": "user", "content": f"/first {n}"}] for n in range(4)]

    def say(question: str, mark: str = "####") -> str:
        return f"Yes. {mark} Because." if question.startswith("/first") else well(question)

    assert check("format", say, answer_first=first).held
    # The champion's answers to these have no delimiter either: nothing was lost.
    assert check("format", lambda q: say(q, ""), answer_first=first).held
    bench = Bench(Scripted(lambda q: say(q)), "a", None, PROMPTS, first)  # type: ignore[arg-type]
    lost = guards.check("format", bench)
    assert lost is not None and not lost.held and "no ####" in lost.detail


def test_another_language_fires() -> None:
    german = "Das weiß ich leider nicht genau, aber ich erkläre es gern noch einmal auf Deutsch."
    found = check("language", lambda q: german)
    assert not found.held and "de for " in found.detail


def test_a_language_counts_where_people_write_in_it() -> None:
    def english(question: str) -> str:
        return SENTENCE

    assert check("language", english).held
    prompts = [[{"role": "user", "content": f"{CHINESE}{number}"}] for number in "一二三"]
    lost = guards.check("language", Bench(Scripted(english), None, "a", prompts))
    assert lost is not None and not lost.held and "en for zh" in lost.detail


def test_a_rewriter_that_only_repeats_fires() -> None:
    class Repeating(Scripted):
        def generate(self, prompt_ids: Any, sampling: Any, adapter: Any = None) -> Iterator[Chunk]:
            asked = _last_said(_read_prompt(self.decode(prompt_ids))[0])
            query = asked.rpartition("=> ")[2]
            known = {row["query"]: row["rewrite"] for row in pairs("rewriter")}
            yield Chunk(0, query if adapter == "a" else known[query], finish_reason="stop")

    bench = Bench(Repeating(well), None, "b", PROMPTS, rewriters=(None, "a"))
    found = guards.check("rewriter", bench)
    assert found is not None and not found.held and found.champion == 1
    assert guards.check("rewriter", Bench(Repeating(well), None, "b", PROMPTS)) is None


def test_guards_share_their_answers_and_ask_the_champion_only_in_doubt() -> None:
    engine = Scripted(well)
    bench = Bench(engine, None, "a", PROMPTS)
    for name in guards.names():
        guards.check(name, bench)
    assert len(engine.asked) == len(set(engine.asked)) == bench.written()
    of_champion = [question for question, adapter in engine.asked if adapter is None]
    assert len(of_champion) == len(bench.sample()), "for the length alone"


@pytest.mark.parametrize(
    ("text", "ids", "broken"),
    [
        ("", [], True),
        (" \n", [1], True),
        ("ok", [1, 2], False),
        ("a list", list(range(30)), False),
        ("again", [1, 2, 3] * 20, True),
    ],
)
def test_broken_answers(text: str, ids: list[int], broken: bool) -> None:
    assert is_broken(text, ids) is broken


@pytest.mark.parametrize(
    ("text", "finished", "form", "amiss"),
    [
        ("1. a\n2. b", True, "list", None),
        ("Here:\n- a\n- b\n", True, "list", None),
        ("- a", True, "list", None),
        ("1. a\n2. b\n3.", True, "list", "empty item"),
        ("1. a\n2. b\n3.", False, "list", None),
        ("1. a\n3. b\n4. c", True, "list", "counts wrongly"),
        ("1. a\n2. b\n\n1. c\n2. d", True, "list", None),
        ("Apples and pears.", True, "list", "no list"),
        ("Here it is:\n```py\nprint()\n```", True, "code", None),
        ("```py\nprint()", True, "code", "not closed"),
        ("```py\nprint()", False, "code", None),
        ("print()", True, "code", "no code block"),
    ],
)
def test_faults_of_form(text: str, finished: bool, form: str, amiss: str | None) -> None:
    found = fault(Written(text, (), finished), form)
    assert (amiss in found) if amiss and found else found is amiss


def suite(n: int) -> dict[str, list[dict[str, Any]]]:
    return {"mine": [{"question": f"number {i}", "accept": ["true"]} for i in range(n)]}


@pytest.mark.parametrize(
    ("lost", "won", "held"),
    [
        (0, 0, True),
        (5, 0, True),  # chance gives it in one case of 32
        (6, 0, False),  # one of 64
        (6, 1, True),  # of 7 that differ, 6 or 7: one of 16
        (8, 1, False),  # of 9, 8 or 9: one of 51
        (9, 9, True),
    ],
)
def test_questions_that_only_one_of_two_gets_right_decide(lost: int, won: int, held: bool) -> None:
    def right(adapter: str | None, number: int) -> bool:
        return lost <= number < 30 if adapter else number < 30 - won

    class Knowing(Scripted):
        def generate(
            self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
        ) -> Iterator[Chunk]:
            question = _last_said(_read_prompt(self.decode(prompt_ids))[0])
            yield Chunk(0, str(right(adapter, int(question.split()[1]))).lower(), (1,), (-1.0,))

    bench = Bench(Knowing(well), None, "a", PROMPTS, suites=suite(30))
    found = guards.check("suites", bench)
    assert found is not None and found.held is held
    assert f"mine: {30 - lost} of 30 right, what serves now {30 - won}" in found.detail
    assert held is (found.candidate >= found.limit)


def test_questions_are_compared_with_the_base_as_well_so_that_small_steps_are_no_way_down() -> None:
    known = {None: 30, "a-1": 26, "a-2": 22}

    class Fading(Scripted):
        def generate(
            self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
        ) -> Iterator[Chunk]:
            question = _last_said(_read_prompt(self.decode(prompt_ids))[0])
            right = int(question.split()[1]) < known[adapter]
            yield Chunk(0, str(right).lower(), (1,), (-1.0,))

    first = guards.check("suites", Bench(Fading(well), None, "a-1", PROMPTS, suites=suite(30)))
    second = guards.check("suites", Bench(Fading(well), "a-1", "a-2", PROMPTS, suites=suite(30)))
    assert first and first.held and second and not second.held


def test_without_questions_there_is_nothing_to_look_at() -> None:
    assert guards.check("suites", Bench(Scripted(well), None, "a", PROMPTS)) is None
