"""Which questions open a new topic: few, and none that may lean on what was said."""

import pytest

from serve.turn.rewriting.rewriter import Rewrite
from serve.turn.rewriting.topic import may_be_new, new_topic

COMO = [
    {"role": "user", "content": "How deep is Lake Como?"},
    {"role": "assistant", "content": "Lake Como is 425 metres deep."},
]
XIHU = [
    {"role": "user", "content": "西湖在哪里？"},
    {"role": "assistant", "content": "西湖在杭州。"},
]
NEW_EN, NEW_ZH = "What is a prime number?", "请介绍一下北京故宫博物院的历史"


def off(query: str) -> Rewrite:
    return Rewrite(query, query, False, "rewriting is off")


def copied(query: str, reasoning: str = "") -> Rewrite:
    return Rewrite(query, query, False, "ellipsis", reasoning=reasoning)


@pytest.mark.parametrize(
    "query",
    [
        NEW_EN, "What is the capital of France?", "How do I boil an egg?",
        "Explain how rain forms.", "Tell me about the Roman aqueducts.",
        "What is the difference between a cat and a dog?",
    ],
)  # fmt: skip
def test_a_whole_english_question_on_other_things_may_be_new(query: str) -> None:
    assert may_be_new(COMO, query)


@pytest.mark.parametrize(
    "query",
    [
        "When did he die?", "And in winter?", "Why?", "Is it cold there?", "Thank you, goodbye.",
        "Can you translate to French?", "Explain step by step", "Are you sure?", "Try again",
        "Where do I live?", "What is my name?", "How much does the ticket cost?",
        "Which of the lakes in Italy would you visit?", "What about Como in winter?",
        "Give an example", "The weather was nice with sun.", "Which ones do you like?",
        "Quand est-il mort ?", "Was ist mit dem Wetter?", "", "?", "12 + 30", "😀",
    ],
)  # fmt: skip
def test_what_may_lean_on_the_history_is_none(query: str) -> None:
    assert not may_be_new(COMO, query)


@pytest.mark.parametrize(
    "query",
    [
        NEW_ZH,
        "你知道刘德华今年几岁吗？",
        "如何做红烧肉？",
        "光合作用是怎么进行的？",
        "量子计算是什么",
    ],
)
def test_a_whole_chinese_question_on_other_things_is_new(query: str) -> None:
    found = new_topic(XIHU, query, off(query))
    assert found is not None and found.startswith("a change of topic: ")


@pytest.mark.parametrize(
    "query",
    [
        "它有多大？", "这个景点适合去多久？", "门票多少钱？", "历史悠久吗？", "颐和园呢？",
        "为什么？", "杭州有什么好吃的？", "我住在哪里？", "翻译成英文好吗？", "能简单说吗？",
        "谢谢，再见。", "第二个贵吗？", "还有别的吗？", "继续介绍西安", "今天天气很好。",
    ],
)  # fmt: skip
def test_chinese_that_may_lean_on_the_history_is_none(query: str) -> None:
    assert new_topic(XIHU, query, off(query)) is None


@pytest.mark.parametrize("history", [[], [{"role": "system", "content": "Be brief."}]])
def test_without_a_history_no_topic_changes(history: list[dict[str, str]]) -> None:
    assert not may_be_new(history, NEW_EN)


@pytest.mark.parametrize(
    ("history", "back", "query"),
    [(COMO, "What would you like to know?", NEW_EN), (XIHU, "您想了解什么？", NEW_ZH)],
)
def test_after_a_question_back_no_topic_changes(
    history: list[dict[str, str]], back: str, query: str
) -> None:
    assert may_be_new(history, query)
    assert not may_be_new([*history, {"role": "assistant", "content": back}], query)


def test_words_count_as_said_wherever_they_were_said() -> None:
    long_ago = [{"role": "user", "content": "Primes are odd. " + "So it goes. " * 1000}, *COMO]
    assert not may_be_new(long_ago, NEW_EN)


@pytest.mark.parametrize(
    ("rewrite", "new"),
    [
        (copied(NEW_EN), True),
        (copied(NEW_EN, "New topic."), True),
        (copied(NEW_EN, "Change of topic: nothing earlier belongs to it."), True),
        (copied(NEW_EN, "nothing to resolve"), True),
        (copied(NEW_EN, "This is not a new topic, it is about the lake."), False),
        (copied(NEW_EN, "No change of topic."), False),
        (copied(NEW_EN, "“number” is the depth of the lake."), False),
        (off(NEW_EN), False),  # the detector alone takes every short English question for one
        (Rewrite(NEW_EN, "What is the depth of Como?", True, "", reasoning="New topic."), False),
        (Rewrite(NEW_EN, NEW_EN, False, "", "it took longer than 5 s", reasoning=""), False),
    ],
)
def test_the_rewriter_decides_and_its_reasoning_first(rewrite: Rewrite, new: bool) -> None:
    assert (new_topic(COMO, NEW_EN, rewrite) is not None) == new


@pytest.mark.parametrize(
    ("reasoning", "new"),
    [
        ("换了话题。", True), ("新话题", True), ("没有需要补充的。", True),
        ("没有换话题。", False), ("不是新话题", False), ("“历史”指西湖的历史。", False),
    ],
)  # fmt: skip
def test_chinese_reasoning_is_read_too(reasoning: str, new: bool) -> None:
    assert (new_topic(XIHU, NEW_ZH, copied(NEW_ZH, reasoning)) is not None) == new


@pytest.mark.parametrize(
    "query",
    [
        "he " * 50_000,
        "What? " + "the " * 50_000 + "of",
        "它" * 50_000,
        "\x00\ud800?",
        "x" * 500_000,
    ],
)
def test_any_text_gets_a_verdict(query: str) -> None:
    assert not may_be_new(COMO, query)
