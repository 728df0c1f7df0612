"""What candidate and champion write to held-out prompts, compared by a judge made of feedback."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from retrain.evaluate.items import Item, Passage
from retrain.evaluate.judge import Answer, Comparison, Judge, choose_judge, fit_judge, opposed
from retrain.evaluate.measure import Gain, Tick
from serve.engines.base import Engine, Sampling

MOST = 40  # prompts; the first of a stable order
DRAFTS = 4  # by each of the two, to every prompt
AT_ONCE = 8  # prompts that the engine works on together
TEMPERATURE = 0.7
LONGEST = 256  # tokens, where the judged answers name no limit
KINDS = ("comparison", "rating")  # of feedback that makes a judge


def judge_of(kind: str, taught: Sequence[Item], held_out: Sequence[Item]) -> Judge:
    """The judge that feedback of one of KINDS makes."""
    taught, held_out = ([i for i in items if i.kind == kind] for items in (taught, held_out))
    if kind == "rating":
        return fit_judge(_opposed(taught), _opposed(held_out), once=True)
    return choose_judge(_compared(taught), _compared(held_out))


def _compared(items: Sequence[Item]) -> list[Comparison]:
    return [[(_seen(item.good[0]), _seen(bad)) for bad in item.bad] for item in items]


def _opposed(items: Sequence[Item]) -> list[Comparison]:
    up = [_seen(passage) for item in items for passage in item.good]
    return opposed(up, [_seen(passage) for item in items for passage in item.bad])


def written_gains(
    engine: Engine,
    kind: str,
    items: Sequence[Item],
    judge: Judge,
    champion: str | None,
    candidate: str,
    tick: Tick = lambda step, total: None,
) -> list[Gain]:
    """For the prompt of each held-out item of the kind: the probability, over four drafts of each,
    that users like the candidate's better, less one half."""
    judged = _once_each(item for item in items if item.kind == kind)[:MOST]
    gains: list[Gain] = []

    def gain_on(item: Item) -> Gain:
        new, old = (_drafts(engine, item, adapter) for adapter in (candidate, champion))
        chances = [judge.prefers(one, other) for one in new for other in old]
        gain = sum(chances) / len(chances) - 0.5
        return Gain(item.kind, item.key, gain, gain)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for gain in pool.map(gain_on, judged):
            gains.append(gain)
            tick(len(gains), len(judged))
    return gains


def _once_each(items: Iterable[Item]) -> list[Item]:
    """The first item about each prompt: what is written to it is the same for all of them."""
    found: dict[str, Item] = {}
    for item in items:
        found.setdefault(repr(item.messages), item)
    return list(found.values())


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
