"""`redraft prompts`: what a prompt file lacks, how it reads, how long it is."""

from collections.abc import Sequence

import click

from prompts import Prompt, PromptError, load_prompt, prompt_names
from prompts.parts import has_parts, lacking, sample, without_sample
from serve.engines.base import EngineError
from serve.engines.builtin import NAME as BUILTIN, model_source
from serve.engines.tokenizer import ChatTokenizer
from serve.settings import Settings, load_settings

OF_TEACHER = "corpus"


@click.group()
def group() -> None:
    """The prompt files: what each lacks, how it reads, how long it is."""


@group.command()
@click.argument("name", nargs=-1)
def check(name: tuple[str, ...]) -> None:
    """Say what prompts lack of role, task, background, criteria, formats, examples, source text.

    A NAME is a prompt or a folder of them (`corpus/qa`), whose texts are shown too, with sample
    data filled in; without one, all that ask a teacher are checked. Exit code 1: one lacks a part.
    """
    prompts = [load_prompt(one) for one in _chosen(name or (OF_TEACHER,))]
    tokenizer = _tokenizer(load_settings())
    for prompt in prompts:
        click.echo(f"{prompt.name}: {_verdict(prompt)}. {_filled(prompt, tokenizer, bool(name))}")
    if any(map(_lacks, prompts)):
        raise SystemExit(1)


def _chosen(names: Sequence[str]) -> list[str]:
    """The prompts that the names are, or that are in the folders that they name."""
    known, found = prompt_names(), []
    for name in (one.strip("/") for one in names):
        inside = [one for one in known if one == name or one.startswith(f"{name}/")]
        if not inside:
            raise PromptError(f"There is no prompt {name!r}. Known: {', '.join(known)}.")
        found += inside
    return list(dict.fromkeys(found))


def _verdict(prompt: Prompt) -> str:
    if not has_parts(prompt):
        return "not built of headed parts"
    return f"lacks {', '.join(_lacks(prompt)) or 'nothing'}"


def _filled(prompt: Prompt, tokenizer: ChatTokenizer, shown: bool) -> str:
    """How long the prompt is with its sample filled in, and how it then reads."""
    if gaps := without_sample(prompt):
        return f"Its front matter has no sample for {', '.join(gaps)}, so it cannot be shown."
    text = prompt.render(**sample(prompt))
    told = f"{len(tokenizer.encode(text))} tokens of {tokenizer.model}."
    return f"{told}\n\n{text}\n" if shown else told


def _lacks(prompt: Prompt) -> list[str]:
    return lacking(prompt) if has_parts(prompt) else []


def _tokenizer(settings: Settings) -> ChatTokenizer:
    """Of the set model; of the built-in one where that is elsewhere."""
    try:
        return ChatTokenizer(settings.model, model_source(settings.model, settings.home))
    except EngineError as error:
        click.echo(f"{error} Counted with {BUILTIN}.", err=True)
        return ChatTokenizer(BUILTIN, model_source(BUILTIN, settings.home))
