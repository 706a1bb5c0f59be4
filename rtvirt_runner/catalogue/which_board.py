"""docs/which-board.md, made from the board profiles: what was tried of each, where, and what was not.

python -m rtvirt_runner.catalogue.which_board >docs/which-board.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.board_profiles import Profile, load_profile

_HEAD = """\
# Which board?

Made from the profiles in `roles/board_image/profiles` (`python -m rtvirt_runner.catalogue.which_board`), so it says of
each kind of board what was tried and where. What is not under *tried* was not, however likely it is to work.

| profile | board | architecture | kernel on a new card | boot loader | tried on hardware |
|---|---|---|---|---|---|
"""
_TAIL = """\
## A board of your own

Write its profile ([Real boards](real-boards.md#a-board-of-another-kind)), see what it can do with
`./rtvirt inspect BOARD -i LAB --preflight`, and add under `verified` what you tried, on which board, with which kernel;
under `traps` what cost you time, with its source. Then make this page again.
"""


def page(profiles: Sequence[Profile]) -> str:
    """The whole page, in Markdown."""
    rows = [
        f"| `{each.name}` | {each.title} | {each.architecture} | `{each.kernel}` | {each.loader['name']} | "
        f"{'yes' if each.on_hardware else 'no'} |\n"
        for each in profiles
    ]
    return _HEAD + "".join(rows) + "\n" + "".join(_section(each) for each in profiles) + _TAIL


def _section(profile: Profile) -> str:
    parts = [("Tried", profile.verified), ("Not tried", profile.unverified), ("Traps", profile.traps)]
    lists = [f"{name}:\n\n" + "".join(f"- {each}\n" for each in texts) + "\n" for name, texts in parts if texts]
    return f"## {profile.title}\n\n" + "".join(lists)


def all_profiles() -> list[Profile]:
    """The profiles that come with rtvirt, by name."""
    return [load_profile(path.stem, [collection.PROFILES]) for path in sorted(collection.PROFILES.glob("*.yml"))]


if __name__ == "__main__":
    sys.stdout.write(page(all_profiles()))
