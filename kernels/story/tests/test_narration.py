"""A schedule told: it goes the way of the compiled one, and says of every step what it did."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import layout
from kernels.language.syntax import sites
from kernels.layout import reading
from kernels.search.schedule import Move, Schedule, interpreted_machines
from kernels.story.events import Kind, Story
from kernels.story.narrate import Narrator, narrate
from kernels.story.spans import path
from kernels.tdx.bits import HP, HPA_SHIFT, ONE_EPOCH, RWX, SVE, TDEL, Sept, stage_word, translation
from kernels.tdx.module.mem import mem_track, vp_enter
from kernels.tdx.protocol import SHOOTDOWN, Size, of_flow, protocol_of
from kernels.tdx.rules import FLOWS, flow_name
from kernels.tdx.spans import OWN
from kernels.tdx.statuses import LEAF_NAMES
from kernels.tdx.words import plan
from kernels.tests.orders import GOES_ON, NO_KICK, SAFE, SPEC, V18, WRONG
from kernels.tests.written_schedules import TRACK, quick, refused, stale, told, waiting, wander

ORDERS = {**SAFE, **WRONG}
PLACES = ("vcpu_pc", "vcpu_register", "zapper_pc", "zapper_register")


@pytest.mark.parametrize("name", ORDERS)
def test_a_told_schedule_holds_the_words_of_the_compiled_one_after_every_step(name):
    rules = ORDERS[name]._replace(shootdowns=3, **(GOES_ON if ORDERS[name].on_error == 0 else {}))
    narrator = Narrator(*of_flow(rules), Size(vcpus=2, zappers=2, pages=2, tlb_entries=1))
    compiled = Schedule(*of_flow(rules), Size(vcpus=2, zappers=2, pages=2, tlb_entries=1))
    drawn = random.Random(name)
    for _ in range(600):
        able = [actor for actor in compiled.actors if compiled.site(actor)]
        if not able:
            break
        actor = drawn.choice(able)
        chosen = drawn.randrange(compiled.choices(actor))
        compiled.step(actor, chosen)
        narrator.step(actor, chosen)

        assert np.array_equal(narrator.state(), compiled.words[: compiled.lay.state_words])
    assert {narrator.run.site(actor) for actor in compiled.actors} == {compiled.site(a) for a in compiled.actors}


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(ORDERS)), seed=st.integers(0, 1 << 32), steps=st.integers(0, 250))
def test_any_schedule_is_told_and_its_story_ends_in_its_state(name, seed, steps):
    run = Schedule(*of_flow(ORDERS[name]), Size(vcpus=2, zappers=2, pages=2), made=interpreted_machines(SHOOTDOWN))
    wander(run, seed, steps)
    story = told(run)

    assert [Move(event.actor, event.chosen) for event in story.events] == run.taken
    held = {held.word: held.value for held in story.held}
    assert held == {
        layout.name_of(run.lay, word): int(run.words[word])
        for word in range(run.lay.state_words)
        if not layout.name_of(run.lay, word).startswith(PLACES)
    }
    nested(story)


def nested(story: Story) -> None:
    """Spans of one actor hold one another or are apart, and every step lies in its own."""
    for actor in story.actors:
        mine = [span for span in story.spans if span.actor == actor and span.end > span.start]
        for one in mine:
            for other in mine:
                apart = one.end <= other.start or other.end <= one.start
                holds = one.start <= other.start and other.end <= one.end
                held = other.start <= one.start and one.end <= other.end
                assert apart or holds or held, (one, other)
    for at, (event, deed) in enumerate(zip(story.events, story.deeds, strict=True)):
        assert story.spans[deed].actor == event.actor
        assert story.spans[deed].start <= at < story.spans[deed].end


def test_whatever_a_step_changes_is_told():
    narrator = Narrator(*of_flow(V18), Size(vcpus=2, zappers=2, pages=2, tlb_entries=2))
    drawn = random.Random(1)
    for _ in range(500):
        actor = drawn.choice([actor for actor in narrator.run.actors if narrator.run.site(actor)])
        before = narrator.state().copy()
        event = narrator.step(actor, drawn.randrange(narrator.run.choices(actor)))
        changed = {layout.name_of(narrator.run.lay, int(word)) for word in np.flatnonzero(narrator.state() != before)}
        said = {access.word for access in (event.access, *event.own) if access and access.changed}

        assert {name for name in changed if not name.startswith(PLACES)} == said


def test_the_status_stands_at_the_step_in_which_the_call_ends():
    story = told(refused())
    ends = [(event.leaf, event.status) for event in story.events if event.leaf]

    assert ends == [
        ("TDH.MEM.RANGE.BLOCK", "SUCCESS"),
        ("TDH.VP.ENTER", "SUCCESS"),
        ("TDH.MEM.TRACK", "SUCCESS"),
        ("TDH.MEM.PAGE.REMOVE", "TLB_TRACKING_NOT_DONE|RCX"),
    ]
    assert story.events[-1].outcomes == ("tracking_not_done",)
    assert story.outcomes == ("tracking_not_done",)


def test_a_step_says_which_word_it_touched_and_what_it_held():
    story = told(refused())
    added = next(event for event in story.events if event.name == "mem_track.fetch_add_seq_cst_epoch_tracking")

    assert added.access is not None
    assert (added.access.word, added.access.before, added.access.after) == (
        "epoch_tracking",
        "E=1 R={0,1}",
        "E=2 R={0,1}",
    )
    shootdown = ("zapper", "shoot_down", "shootdown")
    assert added.calls == (*shootdown, "seamcall_step", "seamcall_until", "seamcall", "mem_track")


def test_the_guest_s_reads_and_choices_are_told_in_words():
    said = [event.says for event in told(stale()).events if "guest" in event.calls and event.says]

    assert said == [
        "the guest reads on",
        "the guest turns to page 0",
        "reads page 0: not in the TLB",
        "walks the S-EPT",
        "reads page 0: fresh",
        "the tick comes",
        "the guest reads on",
        "the guest turns to page 0",
        "reads page 0 through hpa 1: not current",
    ]


def test_a_kick_says_to_which_vcpu_it_turns():
    said = [event.says for event in told(waiting()).events if event.function == "kick" and event.says]

    assert said == ["turns to vcpu 0", "turns to vcpu 0", "no vCPU is left", "turns to vcpu 0", "no vCPU is left"]


def test_a_stay_in_the_guest_lasts_from_the_entry_to_the_exit_and_a_wait_from_the_step_before():
    spans = {span.name: span for span in told(waiting()).spans}

    assert spans["in the guest"].start == spans["TDH.VP.ENTER"].end
    assert spans["in the guest"].end == spans["TD exit"].start
    assert spans["waits for vcpu 0"].kind is Kind.wait
    assert spans["kick"].start < spans["waits for vcpu 0"].start
    assert spans["waits for vcpu 0"].start < spans["TD exit"].start < spans["waits for vcpu 0"].end
    assert not spans["waits at the gate"].whole


def test_a_vcpu_that_takes_no_step_in_the_guest_is_there_to_the_end():
    guest = next(span for span in told(refused()).spans if span.kind is Kind.guest)

    assert (guest.end, guest.whole) == (len(told(refused()).events), False)


def test_a_track_that_is_tried_again_is_a_call_each_time():
    run = quick(NO_KICK)
    run.until("zapper 0", TRACK)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    for _ in range(3):
        run.step("zapper 0")
    calls = [(span.end - span.start, span.status) for span in told(run).spans if span.name == "TDH.MEM.TRACK"]

    assert calls == [(1, "OPERAND_BUSY|TD_EPOCH")] * 3


def test_a_move_that_cannot_be_taken_is_refused():
    with pytest.raises(KeyError):
        Narrator(*of_flow(SPEC), Size(vcpus=1, zappers=1)).step("vcpu 7")
    with pytest.raises(ValueError, match="expected a choice from 0 to 0, found 3"):
        Narrator(*of_flow(SPEC), Size(vcpus=1, zappers=1)).step("vcpu 0", 3)


def test_no_moves_are_a_story_of_the_start():
    story = narrate(*of_flow(SPEC), [], Size(vcpus=1, zappers=1))

    assert (story.events, story.spans, story.outcomes) == ((), (), ())
    assert story.stands["zapper 0"].startswith("claim_page: any_page (kernels/tdx/kvm/zapper.py:")


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("epoch_tracking", 3 * ONE_EPOCH | 2 << 12 | 1, "E=3 R={1,2}"),
        ("epoch_lock", 0, "free"),
        ("epoch_lock", 4, "shared by 2"),
        ("tree_lock", 1, "exclusive"),
        ("tree_lock", 3, "exclusive (+1 shared)"),
        ("sept", Sept.BLOCKED | SVE | TDEL | HP | 2 << HPA_SHIFT, "BLOCKED hpa 2 locked HP"),
        ("sept", 0x00E0000000000000 | SVE, "FREE"),
        ("sept", 0x01000000000000C0 | SVE | 2 << HPA_SHIFT, "PENDING hpa 2"),
        ("sept", 0xC0 | RWX | SVE | 1 << HPA_SHIFT, "MAPPED hpa 1"),
        ("mode", 2, "EXITING_GUEST_MODE"),
        ("requests", 1, "TLB_FLUSH"),
        ("ipi", 5, "zapper 0, zapper 2"),
        ("ipi", 0, "none"),
        ("tlb", translation(0, 2 << 8), "page 0 at hpa 2"),
        ("tlb", 0, "empty"),
        ("owner", 2 << 8 | 1 << 2 | 1, "hpa 2 blocked by zapper 1"),
        ("owner", 3 << 8 | 2, "hpa 3 free"),
        ("mirror", 2, "FROZEN"),
        ("stage", stage_word(0, 1 << 8 | 1, 2), "page 0 done"),
        ("gate", 2, "2"),
        ("bepoch", 7, "7"),
        ("mode", 9, "9"),
    ],
)
def test_a_word_is_read_in_the_protocol_s_words(word, value, said):
    lay = plan(1, 3, 1, 1, packed=True)

    assert reading(lay, getattr(lay, word), value) == said


@pytest.mark.parametrize("flow", FLOWS, ids=flow_name)
def test_every_step_of_every_flow_is_part_of_what_has_words(flow):
    unnamed = {
        (*calls, site.name)
        for made in interpreted_machines(protocol_of(flow))
        for site, calls in zip(made.machine.sites, made.machine.calls, strict=True)
        if site and not path(protocol_of(flow).steps, calls, site.name, "")
    }

    assert unnamed == set()


def test_every_name_that_narration_knows_stands_in_the_source():
    ours = [site for site in sites() if "tests" not in site.file]
    functions = [one for flow in FLOWS for one in protocol_of(flow).steps.values()]
    steps = {site.name for site in ours}

    assert {f"{one.name}.{step}" for one in functions for step in one.says} <= steps
    assert {
        f"{one.source.__name__}.{step}" for one in functions for step in one.at if one.at != OWN and step not in OWN
    } <= steps
    assert {step for step in OWN if any(name.endswith(f".{step}") for name in steps)} == {*OWN}
    assert all(site.says for site in ours if " " not in site.text)
    assert {mem_track.span.name, vp_enter.span.name} <= set(LEAF_NAMES.values())
