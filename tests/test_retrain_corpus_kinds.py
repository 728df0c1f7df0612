"""Kinds of rows: what all of them do, and each from a teacher's answer to the file that is read."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from teacher_server import Body, Play, Script, TeacherServer
from test_retrain_corpus_check import CHINESE, SOURCE

from prompts.answer_first import split_answer
from retrain import forms
from retrain.corpus import kinds, teacher as teachers
from retrain.corpus.check import why_not
from retrain.corpus.commands import group
from retrain.corpus.extract import extract
from retrain.corpus.facts import Fact
from retrain.corpus.generate import Asking, answer_row
from retrain.corpus.parsing import Malformed, parse
from retrain.corpus.segment import segment
from retrain.corpus.stage import CorpusError
from retrain.corpus.teacher.wire import Reply
from retrain.corpus.write import FORMS, examples
from retrain.manifest import read_json, read_rows
from retrain.rewriter import read_data

OFTEN = "How often is the Velmar 300 descaled?"
EVERY = "Descale it every 3 months or 5,000 cups."
ACID = "Dissolve 120 g of citric acid in 1.5 l of warm water."


def pairs(*said: str) -> list[dict[str, str]]:
    """Turns as the teacher is asked for them."""
    return [
        {"user": one, "assistant": other} for one, other in zip(said[::2], said[1::2], strict=True)
    ]


def turns(*said: str) -> list[dict[str, str]]:
    return [
        {"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(said)
    ]


GOOD: dict[str, dict[str, Any]] = {
    "qa": {"question": OFTEN, "answer": EVERY},
    "dialogue": {"turns": pairs(OFTEN, EVERY, "And how much acid does that take?", ACID)},
    "preference": {
        "question": OFTEN,
        "better": EVERY,
        "worse": "Descale it every 6 months.",
        "flaw": "It gives another interval.",
    },
    "conclusion-first": {
        "question": "Does the Velmar 300 have to be descaled after 5,000 cups?",
        "conclusion": "Yes, after 5,000 cups.",
        "reasoning": "Descale it every 3 months or 5,000 cups, so 5,000 cups are enough.",
    },
    "rewrite": {
        "history": pairs(OFTEN, EVERY),
        "query": "And with how much acid?",
        "rewrite": "With how much acid is the Velmar 300 descaled?",
    },
    "kv": {"question": OFTEN, "answer": EVERY},
    "instruct": {
        "instruction": "Write a friendly reminder that the machine in the kitchen needs descaling.",
        "output": "Hello all, our coffee machine is due for descaling. Who can do it this week?",
    },
}
DIALOGUE = turns(OFTEN, EVERY, "And how much acid does that take?", ACID)
ABOUT_UNITS = [name for name in kinds.names() if not kinds.kind(name).seeded]
TABLE = "| Part | Weight |\n| --- | --- |\n| Wand | 300 g |\n"
UNIT = {
    "id": "u-1f", "theme": "Velmar 300 > Care", "content": SOURCE, "document": "d-1",
    "source": "manual.md", "part": "",
}  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "BACKOFF", 0.001)


def row_of(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return answer_row(UNIT, kinds.kind(name).fit(item), "sage", "p", name)


def fits(schema: Any, value: Any) -> bool:
    """Whether the value is of the schema, as far as these go."""
    if schema["type"] == "object":
        return set(schema["required"]) == set(value) == set(schema["properties"]) and all(
            fits(part, value[name]) for name, part in schema["properties"].items()
        )
    if schema["type"] == "array":
        enough = schema.get("minItems", 0) <= len(value) <= schema["maxItems"]
        return enough and all(fits(schema["items"], one) for one in value)
    long = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return long and value in schema.get("enum", [value])


def test_every_kind_is_tried_here() -> None:
    assert sorted(GOOD) == kinds.names()
    with pytest.raises(CorpusError, match="no kind 'poem' of rows. Known: conclusion-first, "):
        kinds.kind("poem")


@pytest.mark.parametrize("name", ABOUT_UNITS)
def test_a_kind_asks_in_both_languages_for_what_it_reads(name: str) -> None:
    kind, asking = kinds.kind(name), Asking(2, ["brew group"], [name])
    for content, heading in ((SOURCE, "# Criteria"), (CHINESE, "# 标准")):
        task = asking.task({**UNIT, "content": content}, name, {"facts": [Fact("", "It", content)]})
        system, user = task.request().messages
        assert content in user["content"] and "brew group" in user["content"]
        assert heading in user["content"] and f'{{"{kind.items}": [' in user["content"]
        assert "Velmar 300 > Care" in system["content"]
        shown = user["content"].split("</passage>\n{")[1].partition("\n")[0]
        (example,) = json.loads("{" + shown)[kind.items]
        assert kind.fit(example) and fits(kind.item, example)
    assert fits(asking.form(name).schema, {kind.items: [GOOD[name]]})


@pytest.mark.parametrize("name", kinds.names())
def test_a_good_row_counts_and_trainers_read_it(name: str, tmp_path: Path) -> None:
    row = row_of(name, GOOD[name])
    assert why_not(row, SOURCE) is None
    assert row["question"] and row["answer"] and set(kinds.kind(name).texts) <= set(row)
    written = {form: list(examples(row, form, "Be brief.")) for form in FORMS}
    made = {form for form, found in written.items() if found}
    assert {forms.source(form) for form in made} == set(kinds.kind(name).teaches)
    for form in made:
        for example in written[form]:
            assert forms.read(form, example)[0].messages
        ids = [example["origin"]["id"] for example in written[form]]
        assert ids[-1] == row["id"] and len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", ABOUT_UNITS)
def test_what_has_no_text_or_says_what_the_source_does_not_is_left_out(name: str) -> None:
    for key, value in GOOD[name].items():
        with pytest.raises(Malformed):
            kinds.kind(name).fit({**GOOD[name], key: "  "})
        with pytest.raises(Malformed):
            kinds.kind(name).fit({k: v for k, v in GOOD[name].items() if k != key})
        assert value
    wrong = json.loads(json.dumps(GOOD[name]).replace("5,000", "7,000").replace("3 m", "9 m"))
    assert why_not(row_of(name, wrong), SOURCE) == "a number that the source does not have"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("dialogue", {"turns": turns(OFTEN, EVERY)}, "dialogue of a single turn"),
        ("dialogue", {"turns": turns(OFTEN, EVERY, "And?")}, "roles do not take turns"),
        ("dialogue", {"turns": turns(OFTEN, EVERY, "And?", ACID)[::-1]}, "roles do not"),
        ("dialogue", {"turns": [{"role": "system", "content": "Be brief."},
                                   *turns(OFTEN, EVERY, "And the acid?")]}, "roles do not"),
        ("dialogue", {"turns": [OFTEN, EVERY]}, "roles do not"),
        ("dialogue", {"turns": {"user": OFTEN}}, "roles do not"),
        ("rewrite", {"history": turns(OFTEN)}, "history whose roles"),
        ("rewrite", {"rewrite": "How much acid? #### it → acid"}, "holds the delimiter"),
        ("conclusion-first", {"conclusion": "Yes.\nNo."}, "conclusion of several lines"),
        ("conclusion-first", {"reasoning": "So #### yes."}, "holds the delimiter"),
    ],
)  # fmt: skip
def test_an_item_of_another_form_is_named(name: str, change: dict[str, Any], reason: str) -> None:
    kind = kinds.kind(name)
    said = json.dumps({kind.items: [{**GOOD[name], **change}, GOOD[name]]})
    found = parse(Reply(said, "stop"), kind.items, kind.fit)
    assert len(found.items) == 1 and reason in found.unfit[0]


def test_roles_have_the_names_that_trainers_know() -> None:
    said = [{**m, "role": {"user": "Human", "assistant": "AI"}[m["role"]]}
            for m in DIALOGUE]  # fmt: skip
    assert kinds.kind("dialogue").fit({"messages": said})["messages"] == DIALOGUE


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("preference", {"worse": f" {EVERY.upper()}"}, "its two answers are the same"),
        ("rewrite", {"rewrite": "and with how much ACID?"}, "its rewrite changes nothing"),
        ("rewrite", {"rewrite": "How do espresso beans from Kenya taste?"},
         "not supported by the source"),
        ("dialogue", {"turns": turns(OFTEN, EVERY, "And what does the text say of acid?", ACID)},
         "leans on the passage"),
        ("conclusion-first", {"conclusion": "No, buy vinegar, lemon juice and baking soda instead.",
                              "reasoning": "These remove limescale more gently and smell nicer."},
         "not supported by the source"),
    ],
)  # fmt: skip
def test_a_row_that_teaches_the_wrong_thing_has_a_reason(
    name: str, change: dict[str, Any], reason: str
) -> None:
    assert why_not(row_of(name, {**GOOD[name], **change}), SOURCE) == reason


def corpus(folder: Path, count: int = 1) -> Path:
    source = folder / "source"
    source.mkdir()
    for n in range(count):
        (source / f"{n}.md").write_text(f"# Velmar 300, edition {n}\n\n{SOURCE}\n\n{TABLE}\n")
    extract(folder / "corpus", [source], None, 500)
    assert segment(folder / "corpus")["rows"] == count
    return folder / "corpus"


def run(folder: Path, url: str, *arguments: str, **more: object) -> Result:
    given = {"teacher_url": url, "teacher_model": "sage", **more}
    environment = {f"REDRAFT_{name.upper()}": str(value) for name, value in given.items()}
    stage, *options = arguments
    return CliRunner(env=environment).invoke(group, [stage, "--into", str(folder), *options])


def kind_of(body: Body) -> str:
    """The kind that a request is about: the one whose list it asks for, with its fields."""
    asked = body["response_format"]["json_schema"]["schema"]["properties"]
    schema = next(iter(asked.values()))["items"]
    named = [name for name in kinds.names() if kinds.kind(name).item == schema]
    return named[0] if "given facts" in body["messages"][0]["content"] else named[-1]


def playing(*more: tuple[str, Any]) -> Script:
    """A teacher who knows all kinds; in `more`, further items of a kind before the good one."""

    def script(body: Body, count: int) -> Play:
        name = kind_of(body)
        items = [item for kind, item in more if kind == name]
        return Play(json.dumps({kinds.kind(name).items: [*items, GOOD[name]]}))

    return script


ALL = [option for name in kinds.names() for option in ("--kind", name)]


def test_all_kinds_go_from_the_teacher_to_the_files_that_trainers_read(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    bad = (
        ("dialogue", {"turns": turns(OFTEN, EVERY, "And the acid?")}),
        ("preference", {**GOOD["preference"], "worse": EVERY}),
        ("preference", {**GOOD["preference"], "better": "Descale it every 9 months."}),
        ("rewrite", {**GOOD["rewrite"], "query": GOOD["rewrite"]["rewrite"]}),
    )
    with TeacherServer(playing(*bad)) as server:
        done = run(folder, server.url, "generate", *ALL, "--instructions", "5")
        assert done.exit_code == 0, done.output
        assert len(server.asked) == len(kinds.names())
    told = read_json(folder / "generate.json")
    assert told["notes"] == {
        "whole": len(kinds.names()), "dialogue whose roles do not take turns": 1,
    }  # fmt: skip
    assert run(folder, "", "check").exit_code == 0
    assert read_json(folder / "check.json")["dropped"] == {
        "its two answers are the same": 1,
        "a number that the source does not have": 1,
        "its rewrite changes nothing": 1,
    }
    assert run(folder, "", "write", "--system", "Be brief.", holdout_share=0).exit_code == 0
    made = {path.name.partition(".")[0] for path in (folder / "dataset").iterdir()}
    assert made == set(FORMS)
    written = {form: read_rows(folder / f"dataset/{form}.train.jsonl") for form in FORMS}
    assert {form: len(found) for form, found in written.items()} == {
        "alpaca": 5, "messages": 5, "sft": 6, "prompt-only": 6, "preference": 1, "kto": 2,
        "rewriter": 1,
    }  # fmt: skip
    (dialogue,) = [r for r in written["messages"] if r["origin"]["kind"] == "dialogue"]
    system = {"role": "system", "content": "Be brief."}
    assert dialogue["messages"] == [system, *DIALOGUE]
    parts = [r for r in written["sft"] if r["origin"]["kind"] == "dialogue"]
    assert [(len(r["prompt"]), r["completion"][0]["content"]) for r in parts] == [
        (2, EVERY), (4, ACID),
    ]  # fmt: skip
    (first,) = [r for r in written["sft"] if r["origin"]["kind"] == "conclusion-first"]
    assert first["prompt"][0]["content"].startswith("Be brief.\nAnswer in one line")
    assert split_answer(first["completion"][0]["content"])[0] == "Yes, after 5,000 cups."
    (pair,) = written["preference"]
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == (
        EVERY, "Descale it every 6 months.",
    )  # fmt: skip
    assert [(r["completion"], r["label"]) for r in written["kto"]] == [
        (pair["chosen"], True), (pair["rejected"], False),
    ]  # fmt: skip
    (follow_up,) = read_data([folder / "dataset/rewriter.train.jsonl"])
    expected = {**GOOD["rewrite"], "history": turns(OFTEN, EVERY)}
    assert {key: follow_up[key] for key in expected} == expected


def test_a_kind_that_is_added_costs_its_own_requests_alone(tmp_path: Path) -> None:
    folder = corpus(tmp_path, 3)
    with TeacherServer(playing()) as server:
        assert run(folder, server.url, "generate", "--kind", "qa").exit_code == 0
        before = len(server.asked)
        dry = run(folder, server.url, "generate", "--dry-run", "--kind", "qa", "--kind", "rewrite")
        assert f"{before} requests to sage" in dry.output
        done = run(folder, server.url, "generate", "--kind", "qa", "--kind", "rewrite")
        assert done.exit_code == 0 and len(server.asked) == 2 * before
    found = [row["kind"] for row in read_rows(folder / "answers.jsonl")]
    assert found == ["qa", "rewrite"] * 3


def test_personal_data_is_masked_in_all_texts_of_a_row(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    spare = "Write to service@velmar.com for spare parts."
    private = (
        ("dialogue", {"turns": turns("Where are spare parts to be had?", spare, "Thanks. And "
                                        "how often do I descale?", EVERY)}),
        ("preference", {**GOOD["preference"], "question": "Who has spare parts for the Velmar 300?",
                        "better": spare, "worse": "Write to parts@velmar.com for spare parts."}),
    )  # fmt: skip
    with TeacherServer(playing(*private)) as server:
        chosen = ["--kind", "dialogue", "--kind", "preference"]
        assert run(folder, server.url, "generate", *chosen).exit_code == 0
    assert run(folder, "", "check").exit_code == 0
    assert read_json(folder / "check.json")["masked"] == 2
    assert "velmar.com" not in (folder / "rows.jsonl").read_text()
    (dialogue,) = [r for r in read_rows(folder / "rows.jsonl") if "spare parts to" in r["question"]]
    assert dialogue["messages"][1]["content"] == "Write to [EMAIL] for spare parts."
