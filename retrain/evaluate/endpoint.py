"""A judge behind any OpenAI endpoint: which answers are better, and does it agree with people?

Candidate and champion each write a greedy answer to held-out prompts, and the judge compares them,
asked in both orders, for judges prefer a place (Zheng et al. 2023, arXiv 2306.05685): what it does
not say in both is a tie. How far to believe it is measured on held-out comparisons, where people's
pick is known. It is told and does not decide: the gate stands on what users said.
"""

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prompts import Prompt, load_prompt
from retrain.evaluate.interval import paired_interval
from retrain.evaluate.items import Item
from retrain.evaluate.measure import Tick
from serve.engines.base import Engine, Message, likeliest

PROMPTS = 40  # of held-out feedback, that both answer
PICKS = 40  # of people, that the judge is tried on
LONGEST = 256  # tokens of an answer
VERDICT = 16  # tokens
AT_ONCE = 8
LETTER = re.compile(r"\b([ABT])\b")

Texts = tuple[str, str]


def judged(
    engine: Engine,
    judge: Engine,
    items: Sequence[Item],
    champion: str | None,
    candidate: str,
    seed: int,
    tick: Tick = lambda step, total: None,
) -> dict[str, Any]:
    """{judge, win_rate, low, high, wins, ties, losses, unstable, agreement}.

    The win rate is the candidate's, a tie is half; `unstable` counts verdicts that changed with the
    order. `agreement` is {picks, agreed, tied}: of people's decided ones, how many it called alike.
    """
    asked = list({repr(item.messages): item for item in items}.values())[:PROMPTS]
    picks = [item for item in items if item.kind == "comparison"][:PICKS]
    prompt, total, done = load_prompt("judge/pair"), len(asked) + len(picks), 0
    verdicts: list[int | None] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def own(item: Item) -> int | None:
            both = [_answer(engine, item, adapter) for adapter in (candidate, champion)]
            return _verdict(judge, prompt, item, (both[0], both[1]))

        def peoples(item: Item) -> int | None:
            return _verdict(judge, prompt, item, (item.good[0].text, item.bad[0].text))

        for work, given in ((own, asked), (peoples, picks)):
            for verdict in pool.map(work, given):
                verdicts.append(verdict)
                done += 1
                tick(done, total)
    wins = [verdict or 0 for verdict in verdicts[: len(asked)]]
    found = paired_interval([win / 2 for win in wins], seed)
    counted, alike = Counter(wins), Counter(verdict or 0 for verdict in verdicts[len(asked) :])
    return {
        "judge": judge.model,
        "win_rate": round(0.5 + found.mean, 4),
        "low": round(0.5 + found.low, 4),
        "high": round(0.5 + found.high, 4),
        "wins": counted[1],
        "ties": counted[0],
        "losses": counted[-1],
        "unstable": verdicts.count(None),
        "agreement": {"picks": len(picks), "agreed": alike[1], "tied": alike[0]},
    }


def _answer(engine: Engine, item: Item, adapter: str | None) -> str:
    return likeliest(
        engine, list(item.messages), item.max_tokens or LONGEST, adapter, stop=item.stop
    )


def _verdict(judge: Engine, prompt: Prompt, item: Item, texts: Texts) -> int | None:
    """1 where the first text is better in both orders, -1 the second, 0 a tie, None unstable."""
    if texts[0] == texts[1]:
        return 0
    question = "\n".join(f"{m['role']}: {m['content']}" for m in item.messages)
    there = _asked(judge, prompt, question, texts)
    back = -_asked(judge, prompt, question, texts[::-1])
    return there if there == back else None


def _asked(judge: Engine, prompt: Prompt, question: str, texts: Texts) -> int:
    """1 for A, -1 for B, 0 for a tie or what is none of them."""
    said = prompt.render(question=question, one=texts[0], other=texts[1])
    system, _, user = said.partition("\n")
    messages: list[Message] = [
        {"role": "system", "content": system},
        {"role": "user", "content": user.strip()},
    ]
    letters = LETTER.findall(likeliest(judge, messages, VERDICT))
    return {"A": 1, "B": -1}.get(letters[0], 0) if letters else 0
