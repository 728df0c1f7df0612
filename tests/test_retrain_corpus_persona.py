"""Who says what: scripts, chat logs and novels, English and Chinese."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from retrain.corpus.commands import group
from retrain.corpus.extract import extract
from retrain.corpus.persona import exchanges
from retrain.manifest import read_rows

PLAY = """THE LAMP
A play in one scene

(A workshop. MARA at the bench.)

MARA: Who turned this off?
OTTO: I did. It was humming,
and humming lamps burn out.
MARA: (softly) They all hum.
(She turns it on again.)
OTTO: Then buy another.
MARA: With what?
"""
SCREENPLAY = """INT. WORKSHOP - NIGHT

A lamp burns on the bench.

MARA
Who turned this off?

OTTO
(without looking up)
I did.

MARA
They all hum.

OTTO
Then buy another.
"""
NOVEL = """Mara came in late. “Who turned this off?” she asked.

“I did,” said Otto, “because it was humming.”

“They all hum.”

“Then buy another,” Otto replied to Mara.

Two days went by, and nobody spoke.

The rain stopped.

The bench was cold.

“Good morning,” said Otto.
"""
CHINESE = """林夏推开门，问道：“灯怎么关了？”

老周头也不抬地说：“是我关的，它一直在响。”

“都会响的。”林夏说。

老周笑道：“那就再买一盏。”
"""


def said_to(tmp_path: Path, text: str, *names: str) -> list[tuple[str, str]]:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    extract(tmp_path / "corpus", [tmp_path / "text.txt"], None, 500)
    (document,) = read_rows(tmp_path / "corpus" / "documents.jsonl")
    return [(one["question"], one["answer"]) for one in exchanges(document, names)]


def test_a_play_names_who_speaks(tmp_path: Path) -> None:
    assert said_to(tmp_path, PLAY, "Otto") == [
        ("Who turned this off?", "I did. It was humming,\nand humming lamps burn out."),
        ("(softly) They all hum.", "Then buy another."),
    ]


def test_a_screenplay_has_the_name_above(tmp_path: Path) -> None:
    assert said_to(tmp_path, SCREENPLAY, "mara") == [("I did.", "They all hum.")]
    (document,) = read_rows(tmp_path / "corpus" / "documents.jsonl")
    assert "INT. WORKSHOP - NIGHT" in document["text"] and "(without" in document["text"]


def test_a_novel_says_who_spoke_beside_the_speech(tmp_path: Path) -> None:
    assert said_to(tmp_path, NOVEL, "Otto") == [
        ("Who turned this off?", "I did, because it was humming."),
        ("They all hum.", "Then buy another,"),
    ]


def test_two_who_take_turns_need_no_names(tmp_path: Path) -> None:
    told = NOVEL.replace("she asked", "Mara asked")
    assert said_to(tmp_path, told, "Mara") == [("I did, because it was humming.", "They all hum.")]


def test_one_who_is_spoken_to_does_not_speak(tmp_path: Path) -> None:
    assert said_to(tmp_path, "“Hm,” said Otto.\n\n“Well,” said Ben to Ida.", "Ida") == []


def test_a_chinese_novel(tmp_path: Path) -> None:
    assert said_to(tmp_path, CHINESE, "老周") == [
        ("灯怎么关了？", "是我关的，它一直在响。"),
        ("都会响的。", "那就再买一盏。"),
    ]
    assert said_to(tmp_path, CHINESE, "林夏") == [("是我关的，它一直在响。", "都会响的。")]


@pytest.mark.parametrize(
    "text",
    [
        "Note: this is a manual.\n\nNote: keep it dry.\n\nWarning: it is hot.\n\nCare: wipe it.",
        "Name: Velmar\nWeight: 27 kg\nColour: green\nPrice: 45",
    ],
)
def test_a_text_with_colons_is_no_script(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.txt").write_text(text)
    extract(tmp_path / "corpus", [tmp_path / "text.txt"], None, 500)
    (document,) = read_rows(tmp_path / "corpus" / "documents.jsonl")
    assert {block["kind"] for block in document["blocks"]} == {"paragraph"}
    assert document["text"] == text


def test_a_persona_goes_from_a_play_to_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_text(PLAY)
    into = ["--into", str(tmp_path / "corpus")]
    for command in (
        ["extract", str(tmp_path / "play.txt")],
        ["segment"],
        ["generate", "--known", "--persona", "Otto"],
    ):
        done = CliRunner().invoke(group, [*command, *into])
        assert done.exit_code == 0, done.output
    rows = read_rows(tmp_path / "corpus" / "answers.jsonl")
    assert [row["answer"][:6] for row in rows] == ["I did.", "Then b"]


def test_a_persona_that_nobody_is_is_told_who_there_is(tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_text(PLAY)
    into = ["--into", str(tmp_path / "corpus")]
    for command in (["extract", str(tmp_path / "play.txt")], ["segment"]):
        CliRunner().invoke(group, [*command, *into])
    done = CliRunner().invoke(group, ["generate", "--known", "--persona", "Ada", *into])
    assert done.exit_code != 0
    assert "Nobody called Ada speaks" in str(done.exception) and "MARA, OTTO" in str(done.exception)
    alone = CliRunner().invoke(group, ["generate", "--persona", "Ada", *into])
    assert alone.exit_code == 2 and "--persona goes with --known" in alone.output
