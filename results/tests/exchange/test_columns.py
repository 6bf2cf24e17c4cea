"""The table of a schedule, as it is printed: one column an actor, readable at any width and without colours."""

import io

import pytest
from rich.console import Console

from kernels.tests.written_schedules import refused, stale, told, unserialized, waiting
from results.exchange.columns import Columns, Row, every_step, failing_step, folded


def printed(columns: Columns, width: int = 80, *, color: bool = False) -> str:
    """What a terminal of this width shows."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=color, no_color=not color, highlight=False).print(columns)
    return out.getvalue()


REFUSED = """\
STEP   vcpu 0                zapper 0
1-3    .                     claims page 0; takes mmu_lock for write
       .                       mirror[page 0]: present -> FROZEN
       .                       mmu_lock: free -> exclusive
4-13   .                     TDH.MEM.RANGE.BLOCK page 0: SUCCESS
       .                       sept[page 0]: MAPPED hpa 1 -> BLOCKED hpa 1
       .                       epoch_tracking = E=1 R={0,0}
       .                       bepoch[page 0]: 0 -> 1
       .                       owner[page 0]: hpa 1 in use -> hpa 1 blocked by
       .                         zapper 0
14-19  .                     kick
       .                       requests[vcpu 0]: none -> TLB_FLUSH
       .                       mode[vcpu 0] = OUTSIDE_GUEST_MODE
       .                       stage[zapper 0]: none -> page 0 kicked
20-24  handles requests; enters
         requests[vcpu 0]: TLB_FLUSH -> none
         mode[vcpu 0]: OUTSIDE_GUEST_MODE -> IN_GUEST_MODE
25-28  TDH.VP.ENTER: SUCCESS
         epoch_tracking: E=1 R={0,0} -> E=1 R={0,1}
         vcpu_epoch[vcpu 0]: 0 -> 1
29-33  .                     TDH.MEM.TRACK: SUCCESS
       .                       epoch_tracking: E=1 R={0,1} -> E=2 R={0,1}
       .                       stage[zapper 0]: page 0 kicked -> page 0 done
34-41  .                     TDH.MEM.PAGE.REMOVE page 0:
       .                         TLB_TRACKING_NOT_DONE|RCX
       .                       sept[page 0] = BLOCKED hpa 1
       .                       bepoch[page 0] = 1
       .                       epoch_tracking = E=2 R={0,1}
       .                       <== tracking_not_done (forbidden): REMOVE
       .                         refused: KVM_BUG_ON
"""


def test_the_race_of_kick_then_track_reads_as_in_the_protocol():
    story = told(refused())

    assert printed(Columns(story.actors, folded(story))) == REFUSED


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("schedule", [refused, stale, unserialized, waiting])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(schedule, width):
    story = told(schedule())
    rows = folded(story)
    text = printed(Columns(story.actors, rows), width)

    assert max(map(len, text.splitlines())) <= width
    for row in rows:
        assert all(word in text for line in (row.does, *row.holds, *row.outcomes) for word in line.split())


def test_colours_only_help_the_eye():
    story = told(stale())
    columns = Columns(story.actors, folded(story))
    coloured = printed(columns, color=True)

    assert "\x1b[1;31m" in coloured
    assert "\x1b[" not in printed(columns)


def test_every_step_stands_in_one_row_only_when_folded():
    story = told(unserialized())
    rows = folded(story)
    covered = [
        number
        for row in rows
        for number in range(int(row.when.partition("-")[0]), int(row.when.rpartition("-")[2]) + 1)
    ]

    assert covered == list(range(1, len(story.events) + 1))
    assert len(every_step(story)) == len(story.events)


def test_a_call_with_another_actor_in_between_is_cut_in_two():
    story = told(waiting())
    does = [row.does for row in folded(story) if row.actor == "zapper 0"]

    assert does[-2:] == ["kick ...", "waits for vcpu 0; ... kick"]


def test_every_step_says_where_it_stands_in_the_source():
    row = every_step(told(refused()))[-1]

    assert row.does.startswith("mem_page_remove: unlock_shared tree_lock (kernels/tdx/module/mem.py:")
    assert row.holds == ("tree_lock: shared by 1 -> free", "TDH.MEM.PAGE.REMOVE: TLB_TRACKING_NOT_DONE|RCX")
    assert row.outcomes == ("tracking_not_done",)
    assert row.fails


def test_an_acceptable_outcome_is_named_but_is_no_failure():
    row = Row("7", "vcpu 0", "TDH.VP.ENTER: OPERAND_BUSY|TD_EPOCH", outcomes=("operand_busy",))

    assert not row.fails
    assert "operand_busy (acceptable): a try-lock was taken" in printed(Columns(("vcpu 0",), [row]))
    assert "<==" not in printed(Columns(("vcpu 0",), [row]))


def test_with_too_many_actors_for_columns_each_row_names_its_own():
    actors = tuple(f"vcpu {number}" for number in range(64))

    assert (
        printed(Columns(actors, [Row("1", "vcpu 63", "enters", ("a: 0 -> 1",))]))
        == "1     vcpu 63: enters\n        a: 0 -> 1\n"
    )


def test_with_narrow_columns_heads_are_short():
    actors = tuple(f"vcpu {number}" for number in range(8))

    assert printed(Columns(actors, [Row("1", "vcpu 1", "enters")])) == (
        "STEP  v0   v1   v2   v3   v4   v5   v6   v7\n1     .    enters\n"
    )


def test_the_failing_step_is_the_first_that_showed_the_outcome():
    story = told(stale())

    assert failing_step(story, "use_after_remove") == len(story.events)
    assert failing_step(story, "tracking_not_done") == 59
    assert failing_step(story, "no_progress") is None
    assert failing_step(story, "refcounts_add_up") is None
