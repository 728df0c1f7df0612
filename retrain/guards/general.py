"""General knowledge is kept: right answers to plain questions stay likelier than wrong ones.

`general.jsonl` holds questions of everyday kinds, each with a right answer and a wrong one of the
same form, written for this purpose. Judged is the share in which the right one has the higher
log-probability per token; it may fall by MARGIN against the champion.

Not judged is the likelihood of the right answers itself. Any fine-tuning makes a model surer of its
own wording and so of every other wording less sure: after SFT on 50 corrections the mean fell by
0.85 nats a token, while the answers that the model wrote were as good as before.

The margin was measured on the built-in model: the base prefers 36 of the 40 right answers, the same
SFT adapter 35, with its weights doubled 33, and tripled, when it is damaged, 30.
"""

from pathlib import Path

from retrain.guards import Bench, Guard
from retrain.manifest import read_rows

MARGIN = 0.1
PAIRS = Path(__file__).with_name("general.jsonl")


def check(bench: Bench) -> Guard:
    """Hold while the candidate's share is within the margin below the champion's."""
    new, old = _share(bench, bench.candidate), _share(bench, bench.champion)
    limit = round(old - MARGIN, 3)
    detail = f"right answers preferred in {new:.1%}, what serves now {old:.1%}, margin {MARGIN:.0%}"
    return Guard("general", new >= limit, old, new, limit, detail)


def _share(bench: Bench, adapter: str | None) -> float:
    pairs = read_rows(PAIRS)
    right = 0
    for pair in pairs:
        prompt = bench.engine.encode_chat([{"role": "user", "content": pair["question"]}])
        scores = []
        for text in (pair["answer"], pair["wrong"]):
            found = bench.engine.score(prompt, bench.engine.encode(text), adapter)
            scores.append(sum(found) / len(found))
        right += scores[0] > scores[1]
        bench.beat()
    return round(right / len(pairs), 3)
