"""What candidate and champion write to held-out prompts, compared by the judge of comparisons."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from retrain.evaluate.items import Item, Passage
from retrain.evaluate.judge import Answer, Comparison, Judge, choose_judge
from retrain.evaluate.measure import Gain, Tick
from serve.engines.base import Engine, Sampling

MOST = 40  # prompts; the first of a stable order
DRAFTS = 4  # by each of the two, to every prompt
AT_ONCE = 8  # prompts that the engine works on together
TEMPERATURE = 0.7
LONGEST = 256  # tokens, where the compared drafts name no limit


def judge_of(taught: Sequence[Item], held_out: Sequence[Item]) -> Judge:
    """The judge that the comparisons make."""
    return choose_judge(_compared(taught), _compared(held_out))


def _compared(items: Sequence[Item]) -> list[Comparison]:
    compared = [item for item in items if item.kind == "comparison"]
    return [[(_seen(item.good[0]), _seen(bad)) for bad in item.bad] for item in compared]


def written_gains(
    engine: Engine,
    items: Sequence[Item],
    judge: Judge,
    champion: str | None,
    candidate: str,
    tick: Tick = lambda step, total: None,
) -> list[Gain]:
    """For each held-out comparison's prompt: the probability, over four drafts of each, that users
    pick the candidate's, less one half."""
    compared = [item for item in items if item.kind == "comparison"][:MOST]
    gains: list[Gain] = []

    def gain_on(item: Item) -> Gain:
        new, old = (_drafts(engine, item, adapter) for adapter in (candidate, champion))
        chances = [judge.prefers(one, other) for one in new for other in old]
        gain = sum(chances) / len(chances) - 0.5
        return Gain(item.kind, item.key, gain, gain)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for gain in pool.map(gain_on, compared):
            gains.append(gain)
            tick(len(gains), len(compared))
    return gains


def _drafts(engine: Engine, item: Item, adapter: str | None) -> list[Answer]:
    sampling = Sampling(
        max_tokens=item.max_tokens or LONGEST,
        temperature=TEMPERATURE,
        n=DRAFTS,
        stop=item.stop,
        seed=int(item.key[:8], 16),  # the same chance for both
    )
    texts, ends = [""] * DRAFTS, [""] * DRAFTS
    for chunk in engine.generate(engine.encode_chat(list(item.messages)), sampling, adapter):
        texts[chunk.draft] += chunk.text
        ends[chunk.draft] = chunk.finish_reason or ends[chunk.draft]
    return [Answer(text, end == "stop") for text, end in zip(texts, ends, strict=True)]


def _seen(passage: Passage) -> Answer:
    return Answer(passage.text, passage.finished)
