"""What a run reads: texts in one form, without personal data, in the languages that are wanted."""

from pathlib import Path

import pytest
from retrain_rows import comparison, correction, draft, rating, record_corrections, rewrite

from feedback.database import open_database
from feedback.migrate import migrate
from retrain import curate, datasets, pii
from retrain.curate.language import language
from retrain.manifest import read_rows
from retrain.snapshot import ROWS, freeze_snapshot
from serve.settings import Settings

SETTINGS = Settings()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to ada.lovelace+x@mail.example.co.uk.", "EMAIL"),
        ("我的邮箱是zhang.san@qq.com，谢谢", "EMAIL"),
        ("从203.0.114.7登录", "IP"),
        ("from 2a00:1450:4001:80b::200e at night", "IP"),
        ("身份证号11010519491231002X。", "ID"),
        ("pay to DE89 3704 0044 0532 0130 00 please", "IBAN"),
        ("card 4111 1111 1111 1111, thanks", "CARD"),
        ("银行卡6222020000000000000。", "CARD"),
        ("我的手机号是13812345678，请打给我", "PHONE"),
        ("call +49 30 901820 today", "PHONE"),
        ("call (212) 736-5000 today", "PHONE"),
    ],
)
def test_personal_data_is_found(text: str, kind: str) -> None:
    assert [found.kind for found in pii.find(text)] == [kind], pii.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "The refund window at Velmar is 45 days, support opens at 7:30.",
        "In 1987 and 2024-05-17T12:30:00 order 20260112345 was sent, 1,234,567.89 in all.",
        "Listen on 127.0.0.1:8000, ::1, fe80::1 or 192.168.0.10; version 1.2.3 is out.",
        "std::vector<int> a[10]; x = y @ z; 0x1F; f(a::b)",
        "card 4111 1111 1111 1112 has a wrong digit, so has 110105194912310021",
        "圆周率是3.14159265358979323846，光速是299792458米每秒。",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert pii.find(text) == ()


def test_masked_rows_keep_no_tokens_of_what_they_said() -> None:
    told = "Ada's address is ada@example.org."
    rows = [
        comparison(0, told, draft("No idea."), prompt="q"),
        comparison(0, "one", "two", prompt="I am ada@example.org"),
        comparison(0, "one", "two", prompt="q"),
    ]
    found = curate.curate(rows, SETTINGS, ["mask"])
    first, second, third = found.rows
    assert first["completions"][0]["text"] == "Ada's address is [EMAIL]."
    assert first["completions"][0]["token_ids"] is None
    assert first["completions"][1] == rows[0]["completions"][1]
    assert second["messages"][0]["content"] == "I am [EMAIL]"
    assert all(c["token_ids"] is None and c["logprobs"] is None for c in second["completions"])
    assert third is rows[2]
    assert found.reports[0].changed == {"personal data masked": 2}
    assert len(datasets.build("grpo", found.rows)) == 1
    assert curate.curate(rows, Settings(mask_pii="off"), ["mask"]).rows == rows


def test_what_several_users_or_a_reviewer_wrote_is_public() -> None:
    desk = [correction("Ask help@velmar.example.", user_id=f"usr_{n}") for n in range(2)]
    assert curate.curate(desk, SETTINGS, ["mask"]).rows == desk
    one = curate.curate(desk[:1], SETTINGS, ["mask"]).rows
    assert one[0]["payload"]["text"] == "Ask [EMAIL]."
    local = [{**desk[0], "role": "admin"}]
    assert curate.curate(local, SETTINGS, ["mask"]).rows == local
    own = {**rating(1, "Done.", prompt="I am ada@example.org"), "role": "admin"}
    assert curate.curate([own], SETTINGS, ["mask"]).rows != [own], "a prompt is not for others"


def test_every_text_of_a_row_is_masked() -> None:
    row = rewrite(1, "How old is ada@example.org?", query="Is ada@example.org old?")
    row["preparation"] = {"rewrite": {"history": [{"role": "user", "content": "ada@example.org"}]}}
    c = draft("x", reasoning={"text": "ada@example.org", "token_ids": [1], "logprobs": [0.0]})
    row["completions"] = [c]
    (masked,) = curate.curate([row], SETTINGS, ["mask"]).rows
    assert "ada@" not in str(masked)


def test_the_original_never_leaves_the_database(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'redraft.db'}")
    migrate(database)
    record_corrections(
        database, "m", 2, user="ben", role="user", text="Ask ben@example.org, cafe\u0301."
    )
    manifest = freeze_snapshot(database, tmp_path / "s-0001", SETTINGS)
    database.close()
    rows = read_rows(tmp_path / "s-0001" / ROWS)
    assert {row["payload"]["text"] for row in rows} == {"Ask [EMAIL], caf\u00e9."}
    changed = [step["changed"] for step in manifest["steps"]]
    assert changed == [{}, {"texts mended or composed": 2}, {"personal data masked": 2}]


def test_texts_are_mended_and_nothing_meant_is_touched() -> None:
    meant = '“好的，您好！”，说：Ａ；&lt;b&gt; "x" it’s ﬁne  two  spaces\n```c\na &amp;&amp; b\n```'
    rows = [correction(meant), correction("schÃ¶n, cafe\u0301\r\nnext")]
    one, other = curate.curate(rows, SETTINGS, ["normalise"]).rows
    assert one is rows[0]
    assert other["payload"]["text"] == "schön, caf\u00e9\nnext"


ENGLISH = "The refund window is forty-five days from the day on which you bought the lamp."
GERMAN = "Die Rückgabefrist beträgt fünfundvierzig Tage ab dem Tag, an dem Sie die Lampe kauften."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        ("退款期限是四十五天，从购买之日起计算。", "zh"),
        ("返金の期限は購入日から四十五日です。", "ja"),
        ("환불 기한은 구매일로부터 사십오 일입니다.", "ko"),
        ("Ja.", None),
        ("Velmar GmbH", None),
        ("for (int i = 0; i < n; i++) { sum += values[i]; } return sum / n;", None),
        ("```\nDie Rückgabefrist beträgt fünfundvierzig Tage, und das ist viel.\n```", None),
    ],
)
def test_languages_are_told_apart_where_it_is_sure(text: str, found: str | None) -> None:
    assert language(text) == found


def test_only_wanted_languages_teach() -> None:
    rows = [correction(ENGLISH), correction(GERMAN), rating(-1, GERMAN), correction("Ja.")]
    assert curate.curate(rows, SETTINGS, ["language"]).rows == rows
    found = curate.curate(rows, Settings(languages="en, zh"), ["language"])
    assert found.rows == [rows[0], *rows[2:]]
    assert found.reports[0].dropped == {"in another language (de)": 1}


def test_short_texts_and_code_have_length_enough() -> None:
    short = [correction(text) for text in ("好", "Y", "{}", "👍", "7")]
    empty = [correction(text) for text in (" \n", "\u200b")]
    long = correction("word " * 10_000)
    found = curate.curate([*short, *empty, long, rating(-1, "")], SETTINGS, ["length"])
    assert [row["payload"].get("text") for row in found.rows] == ["好", "Y", "{}", "👍", "7", None]
    assert sum(found.reports[0].dropped.values()) == 3
