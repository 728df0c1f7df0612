"""The detector of questions that lean on earlier turns: what it catches, leaves alone, survives."""

import time

import pytest

from serve.turn.rewriting.detector import needs_rewrite

EINSTEIN = [
    {"role": "user", "content": "Where was Albert Einstein born?"},
    {"role": "assistant", "content": "He was born in Ulm, in 1879."},
]
XIHU = [
    {"role": "user", "content": "西湖在哪里？"},
    {"role": "assistant", "content": "西湖在杭州。"},
]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("When did he die?", "he"),
        ("What were his most important works?", "his"),
        ("Is that a large city?", "that"),
        ("Who lived there before?", None),
        ("What about his wife?", "his"),
        ("And in winter?", None),
        ("Which one is the oldest?", None),
        ("Tell me more about the second one.", "second"),
        ("Did they have children?", "they"),
        ("Why?", None),
        ("what else did he do", "he"),
    ],
)
def test_english_follow_ups_are_caught(query: str, reason: str | None) -> None:
    verdict = needs_rewrite(EINSTEIN, query)
    assert verdict.needed, verdict
    assert reason is None or reason in verdict.reason


@pytest.mark.parametrize("query", ["Thank you, goodbye.", "Thanks!", "Ok, thank you. Goodbye"])
def test_english_closings_are_left_alone(query: str) -> None:
    assert not needs_rewrite(EINSTEIN, query).needed


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("它有多大？", "pronoun"),
        ("他们是哪年成立的？", "pronoun"),
        ("这个景点适合去多久？", "demonstrative"),
        ("那里冷吗？", "demonstrative"),
        ("该景区的门票多少钱？", "demonstrative"),
        ("第二个贵吗？", "ordinal"),
        ("还有别的吗？", "ordinal"),
        ("颐和园呢？", "ellipsis"),
        ("为什么？", "ellipsis"),
        ("门票多少钱？", "dropped subject"),
        ("面积大吗？", "dropped subject"),
        ("冬天呢", "ellipsis"),
        ("好玩吗", "dropped subject"),
    ],
)
def test_chinese_follow_ups_are_caught(query: str, kind: str) -> None:
    verdict = needs_rewrite(XIHU, query)
    assert verdict.needed, verdict
    assert verdict.reason.startswith(kind), verdict


@pytest.mark.parametrize(
    "query",
    ["谢谢，再见。", "好的，明白了", "请介绍一下北京故宫博物院的历史", "你知道刘德华今年几岁吗？"],
)
def test_standalone_chinese_is_left_alone(query: str) -> None:
    assert not needs_rewrite(XIHU, query).needed


@pytest.mark.parametrize(
    "history",
    [[], [{"role": "system", "content": "Be brief."}], [{"role": "user", "content": " "}]],
)
def test_without_a_history_there_is_nothing_to_resolve(history: list[dict[str, str]]) -> None:
    assert not needs_rewrite(history, "When did he die?").needed


@pytest.mark.parametrize(
    "query",
    [
        "", " \n\t", "?", "12 + 30", "😀", "😀 it? 🎉", "وماذا عن الشتاء؟", "А зимой?", "それは何?",
        "그건 뭐야?", "he " * 100_000, "它" * 100_000, "\u202eti si tahw\u202c", "\x00\ud800",
        "a\u0301" * 50, "x" * 1_000_000, "它是 the same as he?",
    ],
)  # fmt: skip
def test_any_text_gets_a_verdict(query: str) -> None:
    verdict = needs_rewrite(EINSTEIN, query)
    assert 0 <= verdict.score <= 1
    assert verdict.reason


def test_odd_messages_in_a_history_are_passed_over() -> None:
    odd = [
        {"role": "tool", "content": "x"},
        {"role": "assistant", "content": None},
        {"role": "user"},
    ]
    assert needs_rewrite([*odd, *EINSTEIN], "When did he die?").needed  # type: ignore[list-item]


def test_a_long_message_brings_its_own_context() -> None:
    assert not needs_rewrite(EINSTEIN, "He wrote about it. " * 100).needed


def test_a_verdict_takes_less_than_two_milliseconds() -> None:
    history = [{"role": "user", "content": "word " * 5_000}, *EINSTEIN] * 10
    query = "What did he think about the theory that they had written down together in that year?"
    needs_rewrite(history, query)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        needs_rewrite(history, query)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.002
