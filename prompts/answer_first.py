"""The answer-first format, `conclusion #### reasoning`: shared by prompts, serving and datasets.

A stop token at the delimiter ends the generation early; the reasoning is made only when asked for.
"""

DELIMITER = "####"  # one token in SmolLM2, Qwen2 and most BPE vocabularies (GSM8K's own mark)


def split_answer(text: str) -> tuple[str, str | None]:
    """(conclusion, reasoning); the reasoning is None in a text without the delimiter."""
    conclusion, mark, reasoning = text.partition(DELIMITER)
    return (conclusion.strip(), reasoning.strip()) if mark else (text, None)


def open_answer(conclusion: str) -> str:
    """The answer up to its delimiter, where generation stops."""
    return f"{conclusion.strip()} {DELIMITER}"


def join_answer(conclusion: str, reasoning: str) -> str:
    """The whole answer as a model is trained to write it."""
    return f"{open_answer(conclusion)} {reasoning.strip()}"
