"""Something to read: not empty, no marks of a chat template, every code fence closed."""

import re

from retrain.trainers.rewards import Answer

MARK = re.compile(r"<\|\w+\|>|</?s>|\[/?INST\]")


def score(answer: Answer) -> float:
    if not answer.text.strip() or MARK.search(answer.text):
        return -1.0
    return -0.5 if answer.text.count("```") % 2 else 0.0
