"""General knowledge is kept: right answers to plain questions stay likelier than wrong ones.

`general.jsonl` holds questions of everyday kinds, each with a right answer and a wrong one of the
same form, written for this purpose. Judged is the share in which the right one has the higher
log-probability per token; it may fall by MARGIN against the champion, and by twice that in all
against the base.

Not judged is the likelihood of the right answers itself. Any fine-tuning makes a model surer of its
own wording and so of every other wording less sure: after SFT on 50 corrections the mean fell by
0.85 nats a token, while the answers that the model wrote were as good as before.

The margin was measured on the built-in model: the base prefers 36 of the 40 right answers, the same
SFT adapter 35, with its weights doubled 33, and tripled, when it is damaged, 30.
"""

from retrain.guards import Bench, Guard
from retrain.guards._pairs import leanings, least, pairs

MARGIN = 0.1


def check(bench: Bench) -> Guard:
    """Hold while the candidate's share is not below what `least` allows."""
    new, old = _share(bench, bench.candidate), _share(bench, bench.champion)
    base = old if bench.champion is None else _share(bench, None)
    limit = round(least(old, base, MARGIN), 3)
    detail = f"right answers preferred in {new:.1%}, what serves now {old:.1%}, base {base:.1%}"
    return Guard("general", new >= limit, old, new, limit, detail)


def _share(bench: Bench, adapter: str | None) -> float:
    found = leanings(bench, pairs("general"), adapter)
    return round(sum(leaning > 0 for leaning in found) / len(found), 3)
