"""Answers do not collapse, nor swell: a policy that learned to say "Bye!" pleased its judge.

Users may wish for shorter or longer answers, and a candidate may follow; this guard stops what is
no answer any more. Judged is the geometric mean, over the answers that guards share, of how many
times as long the candidate's is as the champion's, in tokens, up to the length that they are
written to. It may fall to a FALL-th, and rise RISE times. The built-in model, taught brevity by
people who picked the shorter of two drafts, wrote 0.31 times as much, in whole, sensible answers.
And because a slow shrinking is a collapse as well, answers to the general prompts, which all ask
for sentences or a list, keep LEAST tokens on average where the champion's have them.
"""

from collections.abc import Sequence
from math import exp, log
from statistics import fmean

from retrain.guards import GENERAL, Bench, Guard, Written, asked

FALL, RISE = 5.0, 3.0
LEAST = 12  # tokens: about one sentence


def check(bench: Bench) -> Guard:
    """Hold while the ratio is within the factor and general answers have some words."""
    new, old = (_lengths(bench.write(bench.sample(), a)) for a in (bench.candidate, bench.champion))
    ratio = exp(fmean(log(a / b) for a, b in zip(new, old, strict=True)))
    general, before = (_general(bench, a) for a in (bench.candidate, bench.champion))
    collapsed = general < min(LEAST, before)
    held = 1 / FALL <= ratio <= RISE and not collapsed
    limit = round(RISE if ratio > 1 else 1 / FALL, 3)
    detail = (
        f"{fmean(new):.0f} tokens on average, what serves now {fmean(old):.0f}: {ratio:.2f} times "
        f"as long, {1 / FALL:.2f} to {RISE:.2f} allowed; {general:.0f} to general prompts"
        + (f", at least {min(LEAST, before):.0f} are needed" if collapsed else "")
    )
    return Guard("length", held, 1.0, round(ratio, 3), limit, detail)


def _lengths(answers: Sequence[Written]) -> list[int]:
    return [max(1, len(answer.token_ids)) for answer in answers]


def _general(bench: Bench, adapter: str | None) -> float:
    return fmean(_lengths(bench.write([asked(text) for text in GENERAL], adapter)))
