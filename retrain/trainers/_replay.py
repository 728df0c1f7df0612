"""General questions that SFT answers along with people's corrections, so as not to forget.

Trained on eight facts of one company alone, a small model soon names its town as the capital of
France. The remedy is to train on the model's own answers to other questions as well.
"""

from collections.abc import Sequence
from typing import Any

import torch

from retrain.trainers import _lora

LONGEST = 40  # tokens of an answer; the beginning of a longer one serves as well

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


@torch.no_grad()
def own_answers(
    model: Any, tokenizer: Any, questions: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, answer ids) of the model as it is now, greedy, in one padded batch."""
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
        (prompt, answer[: answer.index(end) + 1] if end in answer else answer)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
