"""What is too full is refused where it is declared: one line, the file, and what to widen there."""

import re
from dataclasses import replace

import pytest

from kernels import layout
from kernels.search.explore import explore
from kernels.tdx import counters, rooms
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Step, pack_steps
from kernels.tests.orders import SPEC

ROOMS = rooms.rooms()


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: f"{room.where}; {room.what}")
def test_one_more_than_there_is_room_for_is_refused(room: rooms.Room) -> None:
    found = f"kernels/{room.where}: {room.what}: {room.most + 1:,}, expected at most {room.most:,}"

    rooms.check(ROOMS)
    with pytest.raises(ImportError, match=f"^{re.escape(found)}$"):
        rooms.check([*ROOMS, replace(room, used=room.most + 1)])


@pytest.mark.parametrize(
    ("where", "name", "value", "said"),
    [
        (counters, "MOVES", layout.OUTCOME_COUNTS, "layout.py: OUTCOME_COUNTS: words of a tally's head: "),
        (counters, "MOVES", layout.FINISHED, "layout.py: LABEL and on: words of a tally's head for so many places: "),
        (
            layout, "FREEZE_ON", layout.CONTROL_WORDS,
            "layout.py: CONTROL_WORDS: words of the control block: 81, expected at most 80",
        ),
    ],
    ids=["a counter beyond the head", "two counters in one word", "a word beyond the block"],
)  # fmt: skip
def test_an_import_says_what_is_too_full(monkeypatch: pytest.MonkeyPatch, where, name, value, said) -> None:
    monkeypatch.setattr(where, name, value)

    with pytest.raises(ImportError, match=f"^kernels/{re.escape(said)}"):
        rooms.check(rooms.rooms())


def test_twelve_steps_have_room_and_thirteen_are_refused() -> None:
    assert pack_steps([Step.REMOVE] * 12) == int("6" * 12, 32)
    with pytest.raises(ValueError, match="steps: expected at most 12, found 13"):
        pack_steps([Step.REMOVE] * 13)


@pytest.mark.parametrize("size", [Size(62, 1), Size(1, 1, 65)])
def test_a_search_of_more_actors_or_pages_than_its_numbers_tell_apart_is_refused(size: Size) -> None:
    with pytest.raises(ValueError, match="expected at most 62 actors, 64 vCPUs and pages, found "):
        explore(*of_flow(SPEC), size, symmetry=False)
