"""Whether a question opens a new topic, so that nothing said before belongs to it.

Keeping a history that is not needed costs tokens; dropping one that is needed costs the answer. So
every rule here keeps in doubt. A question opens a topic when all of these hold:

1. It is a whole question in English or Chinese with two words of content (characters in Chinese
   count in pairs), and no answer to a question of the assistant.
2. It has no word that points back (it, that one, 这个), speaks of the user (my, 我) or of the
   answers themselves (translate, shorter, 表格), and no "the ticket" that nothing in it explains.
3. None of its words of content was said before, by either side. English words count as the same
   when their first four letters are.
4. The detector or the rewriter says that it stands alone. Where the rewriter gave its reasoning,
   that decides: it must name a change of topic, or nothing to resolve.
"""

import re
from collections.abc import Mapping, Sequence

from serve.turn.rewriting.checks import ASKS, CJK, is_question
from serve.turn.rewriting.chinese import CLOSING, HAN, is_chinese
from serve.turn.rewriting.detector import LONGEST, needs_rewrite
from serve.turn.rewriting.features import CLASSES, STOP, words_of
from serve.turn.rewriting.rewriter import Rewrite

Message = Mapping[str, str]
LEAST = 2  # words of content, or pairs of Chinese characters
STEM = 4  # letters by which two English words count as the same
ENGLISH = frozenset(
    "what who when where why how which whose does did could would should the and with from that "
    "you".split()
)  # words that other languages in Latin letters hardly have
ABOUT_ANSWERS = frozenset(
    "translate summarize summarise summary shorten rewrite rephrase continue repeat elaborate "
    "expand simplify again step steps detail details example examples answer answers question "
    "questions bullet bullets point points table list lists format code text sentence sentences "
    "paragraph word words shorter longer simpler previous above below earlier before result "
    "results conclusion version sure correct wrong right mistake mean meant mention mentioned said "
    "say told option options choice choices reason reasons rest remaining".split()
)
BACK = (
    ABOUT_ANSWERS
    | {"there", "here", "then", "i", "i'm", "i've", "myself", "ones"}
    | CLASSES["self"] | CLASSES["personal"] | CLASSES["it"] | CLASSES["possessive"]
    | CLASSES["demonstrative"] | CLASSES["other"] | CLASSES["one"] | CLASSES["both"]
)  # fmt: skip
EMPTY = STOP | CLASSES["thanks"] | CLASSES["yes_no"] | CLASSES["wanted"] | {"many", "much", "get"}
# Anybody, not this user.
GENERAL_I = re.compile(r"\bhow (?:do|can|could|should|would) i\b|\b(?:tell|show|give) me\b", re.I)
DEFINITE = re.compile(r"\bthe\b(?!.*\b(?:of|between)\b)(?![^.?!]*\s[A-Z])")

BACK_ZH = re.compile(
    r"[我咱俺]|[他她它牠这那此该其]|上[述面文]|前[面者]|后者|刚才|之前|另[外一]|其[他它余]|别的|还有"
    r"|翻译|总结|概括|归纳|缩[短写]|改[写成为]|重[写复新]|继续|再|举例|例子|详细|步骤|答案|回答|问题|表格|列表|代码|格式"
    r"|句子?|段落|文字|简[短单洁化]|确定|错|对吗|意思|结论|区别|原因|选项|相比|一样|更"
)
GENERAL_ZH = re.compile(
    r"(?:请|麻烦)?(?:你|您)?(?:帮我|给我|告诉我|跟我说说)|我想(?:知道|了解|问一?下?)"
)
REQUEST_ZH = re.compile(r"^(?:请|麻烦|帮我|给我)*.{0,3}(?:介绍|讲|说|解释|告诉|推荐|描述|列)")
EMPTY_ZH = re.compile(
    r"请问?|介绍|一下|什么|怎么样?|怎样|如何|为什么|为何|哪[里儿个些年位]?|多少|几[个岁年]?|多[大久长高远]|是不是|有没有"
    r"|能不能|可不可以|可以|知道|说明|解释|说说|讲讲|谈谈|关于|需要|应该|你们?|您|[的了是在有和与吗呢吧啊呀都会要能也就很被把]"
)

NEW = (
    r"(?:new|different|another|unrelated) (?:topic|subject)|unrelated"
    r"|chang\w* (?:of|the|in) (?:topic|subject)|(?:topic|subject) (?:has |is )?(?:changed|new)"
    r"|nothing (?:earlier|to resolve)|stands? alone|standalone"
    r"|换了?一?个?(?:新的?)?话题|新的?话题|话题[变换改]|[与和]上文无关|没有需要补充|没有可补|无需补充|独立"
)
STANDS = re.compile(NEW, re.I)
DENIED = re.compile(
    rf"(?:\b(?:no|not|without|isn't)\W+(?:\w+\W+)?|没有?|不是?|未|并非)(?:a |an |the )?(?:{NEW})",
    re.I,
)


def new_topic(history: Sequence[Message], query: str, rewrite: Rewrite) -> str | None:
    """Why `query` opens a new topic, in words, or None. `rewrite` is what became of it."""
    if not may_be_new(history, query) or rewrite.changed or rewrite.fallback:
        return None
    if rewrite.reasoning:
        named = STANDS.search(rewrite.reasoning) and not DENIED.search(rewrite.reasoning)
        return f"a change of topic: “{rewrite.reasoning[:80]}”" if named else None
    if rewrite.reasoning == "":  # the rewriter was asked, and copied the question
        return "a change of topic: the rewriter had nothing to resolve"
    if needs_rewrite(history, query).needed:
        return None
    return "a change of topic: nothing in it was said before"


def may_be_new(history: Sequence[Message], query: str) -> bool:
    """Whether the words of `query` allow a new topic (1 to 3): cheap, no language model."""
    told = [m for m in history if m["role"] in ("user", "assistant") and m["content"].strip()]
    if len(query) > LONGEST:
        return False
    asks = is_question(query) or REQUEST_ZH.search(query.strip())
    if not told or not asks or _answers_back(told[-1]):
        return False
    said = "\n".join(m["content"] for m in told).lower()
    if is_chinese(query):
        pairs = _chinese_content(query)
        return len(pairs) >= LEAST and not any(pair in said for pair in pairs)
    content = _english_content(query)
    return len(content) >= LEAST and not any(_said(word, said) for word in content)


def _answers_back(last: Message) -> bool:
    """Whether the assistant asked, so that what follows is likely its answer."""
    return last["role"] == "assistant" and last["content"].rstrip().endswith(("?", "？"))


def _english_content(query: str) -> list[str]:
    """The words that name something; none where one points back or the text is not English."""
    if CJK.search(query) or DEFINITE.search(query):
        return []
    words = [word.lower() for word in words_of(GENERAL_I.sub("how", query))]
    if not ENGLISH.intersection(words) or BACK.intersection(_bare(word) for word in words):
        return []
    return [w for w in words if _bare(w) not in EMPTY and not ASKS.fullmatch(w)]


def _bare(word: str) -> str:
    return word.partition("'")[0]


def _said(word: str, said: str) -> bool:
    return re.search(rf"\b{re.escape(word[:STEM])}", said) is not None


def _chinese_content(query: str) -> list[str]:
    """Pairs of neighbouring characters of the runs that name something, and words in Latin."""
    text = GENERAL_ZH.sub(" ", query.strip())
    if CLOSING.search(text) or BACK_ZH.search(text):
        return []
    text = EMPTY_ZH.sub(" ", text)
    runs = ["".join(HAN.findall(run)) for run in re.split(r"[^\u3400-\u9fff]+", text)]
    pairs = [run[i : i + 2] for run in runs for i in range(len(run) - 1)]
    return pairs + [word.lower() for word in words_of(HAN.sub(" ", text))]
