"""The page's catalogues: the same keys and places in each, and every key in use."""

import re
import string
from pathlib import Path

import pytest
from conftest import ROOT

from serve.page import render
from serve.page.client import ApiError, PageError
from serve.page.languages import DEFAULT, Words, catalogue, languages, negotiate

PAGE = ROOT / "serve/page"
OTHERS = [code for code in languages() if code != DEFAULT]


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.mark.parametrize("language", OTHERS)
def test_each_language_says_the_same(language: str) -> None:
    ours, first = catalogue(language), catalogue(DEFAULT)
    assert list(ours) == list(first)  # in the same order too, so that they can be read side by side
    for key, sentence in ours.items():
        assert sentence.strip(), key
        assert places(sentence) == places(first[key]), key


def test_what_is_said_is_in_the_catalogue_and_the_other_way_round() -> None:
    files = [*PAGE.rglob("*.py"), *PAGE.rglob("*.js"), *PAGE.rglob("*.html")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    said = set(re.findall(r'\bt\("(\w+)"[),]', text)) | set(re.findall(r'words\("(\w+)"', text))
    said |= set(re.findall(r'PageError\("(\w+)"', text))
    for found in re.findall(r'data-t="([^"]+)"', text):
        said |= {part.rpartition(":")[2] for part in found.split()}
    assert sorted(said - set(catalogue(DEFAULT))) == []
    # From a number, a finish reason, an API's code, a curate step, a verdict, a kind of feedback,
    # an outcome, a state, what a run did.
    composed = ("example_", "ending_", "api_", "held_", "review_said_", "kind_", "dash_kind_",
                "dash_outcome_", "dash_state_", "dash_what_")  # fmt: skip
    unused = [k for k in catalogue(DEFAULT) if not re.search(rf"\b{k}\b", text)]
    assert [key for key in unused if not key.startswith(composed)] == []


@pytest.mark.parametrize("path", sorted((PAGE / "templates").glob("*.html")), ids=lambda p: p.name)
def test_no_template_speaks_one_language_alone(path: Path) -> None:
    markup = re.sub(
        r"{[{%].*?[}%]}|<style>.*?</style>|<svg.*?</svg>", "", path.read_text(), flags=re.S
    )
    attributes = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', markup)
    shown = re.sub(r"<[^>]*>", " ", markup)
    for text in (*attributes, shown.replace("Redraft", "")):
        assert not re.search(r"[A-Za-z]{2}", text), text


@pytest.mark.parametrize(
    ("cookie", "header", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "fr-FR, zh-TW;q=0.5", "zh"),
        ("", "en-GB,zh", "en"),
        ("zh", "en", "zh"),
        ("en", "zh-CN", "en"),
        ("xx", "ZH", "zh"),
        ("../../etc", "*", "en"),
    ],
)
def test_the_language_is_the_switched_one_else_the_browsers(
    cookie: str, header: str, language: str
) -> None:
    assert negotiate({"redraft_language": cookie}, {"accept-language": header}) == language


def test_problems_are_told_in_the_persons_language() -> None:
    gone = PageError("server_silent", url="http://api.test")
    assert "http://api.test" in gone.said(Words("zh")) and "没有响应" in gone.said(Words("zh"))
    assert str(gone) == gone.said(Words("en"))
    refused = ApiError("Name or password is wrong.", 401, "wrong_credentials")
    assert refused.said(Words("en")) == str(refused)
    assert refused.said(Words("zh")) == "用户名或密码不正确。"
    unknown = ApiError("A sentence of the API.", 409, "something_new")
    assert unknown.said(Words("zh")) == "A sentence of the API."


def test_the_sign_in_form_speaks_chinese() -> None:
    html = render.login_html("", "", Words("zh"))
    assert '<html lang="zh">' in html and "登录" in html and "Sign in" not in html
