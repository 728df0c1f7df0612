"""Prompt templates: files of Jinja2 with YAML front matter, and their loader."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import yaml

FOLDER = Path(__file__).parent


class PromptError(Exception):
    """A prompt file is missing or not of the form that the loader reads."""


@dataclass(frozen=True)
class Prompt:
    """One template; `hash` (12 hex digits) is the version that completions are recorded with."""

    name: str
    source: str
    meta: dict[str, Any]

    @cached_property
    def hash(self) -> str:
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]

    @cached_property
    def _template(self) -> jinja2.Template:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - plain text for a model, never HTML
        return environment.from_string(self.source)

    def render(self, **values: Any) -> str:
        """The text with `values` filled in. Raises PromptError when one is missing."""
        try:
            return self._template.render(**values).strip()
        except jinja2.TemplateError as error:
            raise PromptError(f"Prompt {self.name} cannot be rendered: {error}.") from error


def load_prompt(name: str, folder: Path = FOLDER) -> Prompt:
    """The prompt in `<folder>/<name>.j2`, for example "chat/system"."""
    path = folder / f"{name}.j2"
    if not path.is_file():
        known = ", ".join(prompt_names(folder))
        raise PromptError(f"There is no prompt {name!r} in {folder}. Known: {known}.")
    text = path.read_text(encoding="utf-8")
    meta, source = _split_front_matter(name, text)
    return Prompt(name, source, meta)


def prompt_names(folder: Path = FOLDER) -> list[str]:
    """What `load_prompt` knows there."""
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.j2"))


def _split_front_matter(name: str, text: str) -> tuple[dict[str, Any], str]:
    if not text.startswith("---\n"):
        return {}, text
    front, mark, source = text[4:].partition("\n---\n")
    if not mark:
        raise PromptError(f"Prompt {name} opens front matter with --- and never closes it.")
    try:
        meta = yaml.safe_load(front) or {}
    except yaml.YAMLError as error:
        raise PromptError(f"Front matter of prompt {name} is no YAML: {error}.") from error
    if not isinstance(meta, dict):
        raise PromptError(f"Front matter of prompt {name} is not a mapping of YAML.")
    return meta, source
