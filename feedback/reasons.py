"""Why an answer was good or bad, in one touch: the keys that `tags` of a rating take.

Each key goes with one direction. Tags that are no key here are a client's own words and are kept as
they are.
"""

from typing import Any

from feedback.errors import Invalid

LANGUAGES = ("en", "zh")
REASONS: dict[int, dict[str, tuple[str, str]]] = {
    1: {
        "correct": ("Correct", "内容正确"),
        "helpful": ("Helpful", "有帮助"),
        "clear": ("Clear", "清楚易懂"),
        "well_written": ("Well written", "文笔好"),
        "other": ("Something else", "其他"),
    },
    -1: {
        "wrong_fact": ("Wrong fact", "事实错误"),
        "not_what_i_asked": ("Not what I asked", "答非所问"),
        "too_long": ("Too long", "太长"),
        "too_short": ("Too short", "太短"),
        "unsafe": ("Unsafe", "不安全"),
        "bad_format": ("Bad format", "格式不好"),
        "out_of_date": ("Out of date", "已过时"),
        "other": ("Something else", "其他"),
    },
}


def reasons() -> list[dict[str, Any]]:
    """All keys as {key, value, labels: {language: text}}, in the order to show them in."""
    return [
        {"key": key, "value": value, "labels": dict(zip(LANGUAGES, labels, strict=True))}
        for value, known in REASONS.items()
        for key, labels in known.items()
    ]


def check_direction(tags: list[str], value: int) -> list[str]:
    """The tags; raises Invalid for the key of the other direction."""
    for tag in tags:
        if tag in REASONS[-value] and tag not in REASONS[value]:
            way, fitting = "up" if value > 0 else "down", ", ".join(REASONS[value])
            raise Invalid(
                "tags", f"tags has {tag!r}, which goes with no thumb {way}. Those are {fitting}."
            )
    return tags
