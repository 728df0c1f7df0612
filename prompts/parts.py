"""The parts that a prompt for a teacher is built of, and which of them one lacks.

Each is a heading with text below it, in English or Chinese; the role is the first line, which goes
out as the system message. Front matter has a `sample` of the variables, to see how it reads.
"""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, TemplateError, meta

from prompts import Prompt, PromptError

ROLE = re.compile(r"^(?:you\b|your\b|你|您)", re.IGNORECASE)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
PARTS: Mapping[str, tuple[str, ...]] = {
    "task": ("task", "任务"),
    "background": ("background", "背景"),
    "criteria": ("criteri", "标准", "要求"),
    "input format": ("input", "输入"),
    "output format": ("output", "输出"),
    "examples": ("example", "例子", "示例"),
    "source text": ("source", "原文"),
}


def has_parts(prompt: Prompt) -> bool:
    """Whether the prompt is built of headed parts at all; a few lines for a small model are not."""
    return HEADING.search(prompt.source) is not None


def lacking(prompt: Prompt) -> list[str]:
    """The parts that the prompt has no text for, "role" first."""
    sections = _sections(prompt.source)
    missing = [] if ROLE.match(prompt.source.strip()) else ["role"]
    for part, names in PARTS.items():
        texts = [text for title, text in sections if title.casefold().startswith(names)]
        filled = [text for text in texts if part != "source text" or "{{" in text]
        missing += [] if any(text.strip() for text in filled) else [part]
    return missing


def without_sample(prompt: Prompt) -> list[str]:
    """Variables of the template that the sample of its front matter leaves out."""
    try:
        template = Environment(autoescape=True).parse(prompt.source)
    except TemplateError as error:
        raise PromptError(f"Prompt {prompt.name} is no template: {error}.") from error
    return sorted(meta.find_undeclared_variables(template) - sample(prompt).keys())


def sample(prompt: Prompt) -> dict[str, Any]:
    """Values to render the prompt with: of its front matter."""
    return dict(prompt.meta.get("sample") or {})


def _sections(source: str) -> list[tuple[str, str]]:
    """(title, text below it) of each heading."""
    _, *found = HEADING.split(source)
    return list(zip(found[::2], found[1::2], strict=True))
