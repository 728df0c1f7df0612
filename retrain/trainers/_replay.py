"""General questions that SFT answers along with people's corrections, so as not to forget.

Trained on eight facts of one company alone, a small model soon names its town as the capital of
France. The remedy is to train on the model's own answers to other questions as well, towards the
probabilities that it gave all tokens there and not the written ones alone (distillation: Hinton,
Vinyals and Dean, arXiv 1503.02531; against forgetting: Li and Hoiem, arXiv 1606.09282). Measured
over three trainings on facts in a row, with 24 questions each: the mean log-probability of the
base's own answers to 100 other questions fell by 0.01 nats a token, by 0.39 where the written
tokens alone were taught; right among 160 general questions with choices were 88 and 76 (the base:
85); the facts were learned alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad

from retrain.trainers import _head, _lora

LONGEST = 40  # tokens of an answer; the beginning of a longer one serves as well
LIKELIEST = 64  # tokens of a distribution; of the built-in model they hold 96 % of it

# In a mixed order: a recipe takes the first n.
QUESTIONS = (
    "What is the capital of Italy?",
    "Who invented the telephone?",
    "How long does it take to boil an egg?",
    "What colour is grass?",
    "What is 7 plus 6?",
    "Name two animals that live in the sea.",
    "How much does a litre of water weigh?",
    "Give me one tip for saving money.",
    "Who wrote Hamlet?",
    "How many days are in a week?",
    "What is photosynthesis?",
    "Where is the Eiffel Tower?",
    "Who founded Apple?",
    "How do I make a cup of tea?",
    "When does the sun rise?",
    "What is the freezing point of water?",
    "Write a short greeting to a friend.",
    "What is the largest planet?",
    "What does a warranty on a phone cover?",
    "How long is the return period in most shops?",
    "Translate 'thank you' into French.",
    "How many years are in a century?",
    "What is Python used for?",
    "Which product is Toyota known for?",
    "What time do shops usually open?",
    "What is the opposite of hot?",
    "Who painted the Mona Lisa?",
    "What is the price of a cup of coffee?",
    "In which city is the head office of Google?",
    "Why is exercise good for you?",
    "What colour is the Coca-Cola logo?",
    "How do plants get water?",
    "Where is Canada?",
    "Suggest a name for a cat.",
    "What is a computer?",
    "How many legs does a spider have?",
    "What is the main language of Brazil?",
    "How can I contact my bank?",
    "Who was the first person on the moon?",
    "How much does it cost to send a letter?",
    "What should I eat for breakfast?",
    "Explain what a noun is.",
    "What is the tallest mountain in the world?",
    "How long does a flight from London to New York take?",
    "What is a healthy hobby?",
    "What is 10 minus 4?",
    "What happens when ice melts?",
    "Tell me a fact about dogs.",
)


@dataclass(frozen=True)
class OwnAnswer:
    """What the model says before it trains, and how likely it finds each token of it.

    `ids` and `mass`, [tokens, LIKELIEST] each, are the likeliest tokens at each place of `answer`
    and their probabilities, which sum to 1.
    """

    prompt: list[int]
    answer: list[int]
    ids: torch.Tensor
    mass: torch.Tensor


@torch.no_grad()
def own_answers(model: Any, tokenizer: Any, questions: Sequence[str]) -> list[OwnAnswer]:
    """The answers of the model as it is now, greedy, made in one padded batch."""
    prompts = [
        _lora.encode_prompt(tokenizer, [{"role": "user", "content": text}]) for text in questions
    ]
    if not prompts:
        return []
    width, end = max(map(len, prompts)), _lora.end_of_turn(tokenizer)
    ids = torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    answers = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=LONGEST,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )[:, width:].tolist()
    return [
        _own_answer(model, prompt, answer[: answer.index(end) + 1] if end in answer else answer)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def _own_answer(model: Any, prompt: list[int], answer: list[int]) -> OwnAnswer:
    # From the end: virtual tokens of a method may stand before the prompt.
    ids = torch.tensor([prompt + answer], device=model.device)
    logits = model(input_ids=ids).logits[0, -len(answer) - 1 : -1].float()
    likely = logits.topk(min(LIKELIEST, logits.shape[-1]))
    return OwnAnswer(prompt, answer, likely.indices.cpu(), likely.values.softmax(-1).cpu())


def towards(
    targets: torch.Tensor, own: Sequence[OwnAnswer | None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mass), [n, k] each, of all scored positions of a batch in their order.

    `targets` [rows, positions] are IGNORED where nothing is scored; rows that are an own answer
    have its distributions, the others their tokens.
    """
    found = [
        (said.ids, said.mass) if said else _head.surely(row[row != _head.IGNORED])
        for row, said in zip(targets, own, strict=True)
    ]
    most = max(ids.shape[1] for ids, _ in found)
    padded = [[pad(x, (0, most - x.shape[1])).to(targets.device) for x in two] for two in found]
    ids, mass = (torch.cat(parts) for parts in zip(*padded, strict=True))
    return ids, mass
