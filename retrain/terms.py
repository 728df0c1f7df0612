"""What texts have in common, without a language's word list: sets of terms, and runs of words."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil, exp, lgamma

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
HAN = re.compile(f"[{CJK}]+")
WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+(?:['’.:/-][^\W_{CJK}]+)*")
NAME = re.compile(r"\b[A-Z]\w*(?: [A-Z]\w*)+")
ADDRESS = re.compile(r"[^\W_]\.[^\W\d_]{2,}")  # a domain, a URL, a mail address, the name of a file
HANDLE = re.compile(r"(?<!\w)[@#]([^\W\d_]\w+)")
INSIDE = re.compile(r"(?<=[\w,;:] )[A-Z]\w+")  # a capital that does not begin the sentence

Terms = frozenset[str]


def words(text: str) -> list[str]:
    """The words in order, blind to case; each Chinese, Japanese or Korean character is one."""
    return [_bare(found) for found in WORD.findall(text)]


def terms(text: str) -> Terms:
    """Words, names of several words, and pairs of neighbouring Chinese characters."""
    pairs = {run[i : i + 2] for run in HAN.findall(text) for i in range(max(1, len(run) - 1))}
    singles = {_bare(found) for found in WORD.findall(text) if not HAN.match(found)}
    return frozenset(pairs | singles | {name.casefold() for name in NAME.findall(text)})


def exact(text: str) -> Terms:
    """The terms that admit no other wording: numbers, addresses, names inside a sentence."""
    found = {_bare(word) for word in WORD.findall(text) if _admits_no_other(word)}
    names = [*INSIDE.findall(text), *HANDLE.findall(text)]
    return frozenset(found | {_bare(name) for name in names})


def near(sets: Sequence[Terms], share: float) -> list[int]:
    """For each set the index of the first one that it is alike to (Jaccard), or its own.

    Prefix filtering (Chaudhuri, Ganti, Kaushik 2006): sets that share enough have one of their
    rarest terms in common.
    """
    counts = Counter(term for one in sets for term in one)
    leaders: dict[str, list[int]] = defaultdict(list)
    found = []
    for index, one in enumerate(sets):
        rarest = sorted(one, key=lambda term: (counts[term], term))
        prefix = rarest[: len(one) - ceil(share * len(one)) + 1]
        known = sorted({leader for term in prefix for leader in leaders[term]})
        leader = next((i for i in known if jaccard(sets[i], one) >= share), index)
        found.append(leader)
        if leader == index:
            for term in prefix:
                leaders[term].append(index)
    return found


def jaccard(one: Terms, other: Terms) -> float:
    """The share of their terms that both have."""
    return len(one & other) / (len(one | other) or 1)


def chance(hits: int, of: int, others: int, of_others: int) -> float:
    """How likely `hits` or more of the shared hits fall on `of`: Fisher's exact test, one-sided."""
    marked, total = hits + others, of + of_others
    return sum(
        exp(_choose(marked, k) + _choose(total - marked, of - k) - _choose(total, of))
        for k in range(hits, min(of, marked) + 1)
        if of - k <= total - marked
    )


def _admits_no_other(word: str) -> bool:
    return any(c.isdigit() for c in word) or bool(ADDRESS.search(word))


def _choose(n: int, k: int) -> float:
    """The logarithm of n over k."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _bare(word: str) -> str:
    return word.casefold().replace("’", "'").removesuffix("'s")
