"""The split is stable, close to the share, and decided once."""

import pytest

from feedback.split import split_of, takes_canary


def test_the_split_never_changes() -> None:
    # Written out: rows recorded by earlier versions rely on these.
    splits = [split_of("usr_a", f"conv_{number}", 0.2) for number in range(10)]
    assert [number for number, split in enumerate(splits) if split == "heldout"] == HELD_OUT


HELD_OUT = [2]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_about_the_share_is_held_out(share: float) -> None:
    splits = [split_of(f"usr_{n % 7}", f"conv_{n}", share) for n in range(4000)]
    assert abs(splits.count("heldout") / 4000 - share) < 0.02
    if share in (0.0, 1.0):
        assert len(set(splits)) == 1


def test_a_larger_share_holds_out_more_and_gives_nothing_back() -> None:
    for number in range(500):
        if split_of("usr_a", f"conv_{number}", 0.1) == "heldout":
            assert split_of("usr_a", f"conv_{number}", 0.3) == "heldout"


def test_it_depends_on_the_user_and_the_conversation() -> None:
    by_user = {split_of(f"usr_{n}", "conv_a", 0.5) for n in range(20)}
    by_conversation = {split_of("usr_a", f"conv_{n}", 0.5) for n in range(20)}
    assert by_user == by_conversation == {"train", "heldout"}


def test_a_canary_answers_its_share_and_each_another_one() -> None:
    conversations = [f"conv_{number}" for number in range(10_000)]
    one, other = (
        {id for id in conversations if takes_canary(id, name, 0.3)}
        for name in ("a-0001-x", "a-0002-x")
    )
    assert abs(len(one) - 3000) < 200
    assert abs(len(one & other) - 900) < 120  # as two coins do
    assert one == {id for id in conversations if takes_canary(id, "a-0001-x", 0.3)}
