"""docs/which-board.md is what the profiles say."""

from __future__ import annotations

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.board_profiles import read_profile
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.which_board import all_profiles, page


def test_the_page_is_the_one_of_the_profiles() -> None:
    told = "make it again: python -m rtvirt_runner.catalogue.which_board >docs/which-board.md"
    assert (collection.ROOT / "docs/which-board.md").read_text() == page(all_profiles()), told


def test_each_board_says_what_was_tried_or_not() -> None:
    for profile in all_profiles():
        assert profile.verified or profile.unverified, profile.name


def test_whether_it_was_tried_on_hardware_is_yes_or_no() -> None:
    body = {**all_profiles()[0].as_dict(), "on_hardware": "maybe"}
    del body["name"]
    body["loader"] = {"name": "u_boot"}
    with pytest.raises(InputError, match=r"on_hardware is .*maybe.*, expected true or false"):
        read_profile("ours", body, "ours.yml")
