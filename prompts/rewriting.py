"""The form of a rewriting task, shared by those who ask for it and those who train it.

It is answered in the answer-first format: `standalone question #### reasoning`.
"""

from collections.abc import Mapping, Sequence

from prompts import Prompt


def rewriting_messages(
    prompt: Prompt, history: Sequence[Mapping[str, str]], query: str
) -> list[dict[str, str]]:
    """The chat that asks for `query` to be rewritten; the prompt's first line is the system's."""
    system, _, user = prompt.render(history=history, query=query).partition("\n")
    return [{"role": "system", "content": system}, {"role": "user", "content": user.strip()}]
