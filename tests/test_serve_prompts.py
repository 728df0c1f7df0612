"""`redraft prompts check`: what a prompt lacks, how it reads, how long it is."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prompts import Prompt, PromptError, load_prompt, prompt_names
from prompts.parts import lacking, sample, without_sample
from serve.commands.prompts import group

OF_TEACHER = [name for name in prompt_names() if name.startswith("corpus/")]
WHOLE = load_prompt("corpus/qa/en").source
PARTS = (
    "role", "task", "background", "criteria", "input format", "output format", "examples",
    "source text",
)  # fmt: skip


def run(model: Path, *names: str) -> Result:
    return CliRunner(env={"REDRAFT_MODEL": str(model)}).invoke(group, ["check", *names])


@pytest.mark.parametrize("name", OF_TEACHER)
def test_prompts_for_a_teacher_lack_nothing_and_render(name: str) -> None:
    prompt = load_prompt(name)
    assert lacking(prompt) == [] and without_sample(prompt) == []
    text = prompt.render(**sample(prompt))
    assert "{{" not in text and "{%" not in text


def test_each_kind_is_there_in_both_languages() -> None:
    kinds = {name.rpartition("/")[0] for name in OF_TEACHER}
    assert kinds and {f"{kind}/{language}" for kind in kinds for language in ("en", "zh")} <= set(
        OF_TEACHER
    )


@pytest.mark.parametrize(
    ("heading", "part"), list(zip(WHOLE.split("\n# ")[1:], PARTS[1:], strict=True))
)
def test_a_part_that_is_missing_or_empty_is_named(heading: str, part: str) -> None:
    title = heading.partition("\n")[0]
    assert lacking(Prompt("p", WHOLE.replace(f"# {heading}", ""), {})) == [part]
    assert lacking(Prompt("p", WHOLE.replace(heading, title), {})) == [part]


def test_a_role_and_a_place_for_the_text_are_asked_for() -> None:
    source = WHOLE.partition("\n")[2].replace("{{ content }}", "the passage")
    assert lacking(Prompt("p", source, {})) == ["role", "source text"]
    assert lacking(Prompt("p", "Write.", {})) == list(PARTS)


def test_it_counts_tokens_and_shows_what_is_named(tiny_model: Path) -> None:
    done = run(tiny_model, "corpus/qa/zh")
    prompt = load_prompt("corpus/qa/zh")
    text = prompt.render(**sample(prompt))
    told = f"corpus/qa/zh: lacks nothing. {len(text.encode())} tokens of {tiny_model}."
    assert done.exit_code == 0, done.output
    assert done.output == f"{told}\n\n{text}\n\n"
    every = run(tiny_model)
    assert [line.partition(":")[0] for line in every.output.splitlines()] == OF_TEACHER


def test_others_are_counted_and_judged_where_they_have_parts(tiny_model: Path) -> None:
    said = run(tiny_model, "rewrite", "chat/summary").output
    assert said.count("not built of headed parts. ") == 4
    assert "chat/summary: not built of headed parts. Its front matter has no sample for" in said
    assert "How deep is Lake Como?" in said


def test_a_name_that_is_none_is_told(tiny_model: Path) -> None:
    error = run(tiny_model, "corpus/q").exception
    assert isinstance(error, PromptError) and "Known: chat/answer_first, " in str(error)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("---\nsample: {a: b?}}\n---\nYou.")
    with pytest.raises(PromptError, match="Front matter of prompt a is no YAML"):
        load_prompt("a", tmp_path)
    with pytest.raises(PromptError, match="Prompt b is no template"):
        without_sample(Prompt("b", "{{ a", {}))
