"""Answers of the form `conclusion #### reasoning`, which serving stops at the delimiter.

They follow the system message that the server sends to have answers of this form.
"""

from prompts import load_prompt
from prompts.answer_first import DELIMITER, join_answer
from retrain.corpus.asking import texts
from retrain.corpus.kinds._kind import ANSWER, QUESTION, Example, Kind, one_example
from retrain.corpus.parsing import Item, Malformed, text_in
from retrain.corpus.stage import Row


def fit(item: Item) -> Item:
    question, conclusion, reasoning = (
        text_in(item, key, "answer without a text")
        for key in ("question", "conclusion", "reasoning")
    )
    if "\n" in conclusion:
        raise Malformed("conclusion of several lines")
    if DELIMITER in conclusion or DELIMITER in reasoning:
        raise Malformed("answer that holds the delimiter")
    return {"question": question, "answer": join_answer(conclusion, reasoning)}


def examples(row: Row, system: str) -> dict[str, list[Example]]:
    return one_example(row, load_prompt("chat/answer_first").render(system_prompt=system))


KIND = Kind(
    items="answers",
    item=texts(question=QUESTION, conclusion=QUESTION, reasoning=ANSWER),
    tokens=450,
    fit=fit,
    examples=examples,
)
