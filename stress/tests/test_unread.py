"""What no step of a machine looks at is refused: it would be taken for harmless."""

from pathlib import Path

import pytest

from kernels.search.schedule import Move
from kernels.tdx.rules import FLOWS, Fault, flow_name
from scenarios.faults import faults, to_explore, to_race
from scenarios.loader import apply_settings, load_ordering, load_scenario, shipped_orderings, shipped_scenarios
from scenarios.models import Ordering
from scenarios.witness import Size, witness_text
from stress.bench.design import design
from stress.errors import UsageFault
from stress.explore.pairs import Cell, is_read
from stress.explore.resolve import resolve_atlas, resolve_exploration
from stress.explore.witness import recorded, rules_of
from stress.options import BenchRequest, ExploreRequest, ReplayRequest, RunRequest
from stress.replay import replay
from stress.resolve import check_read, example_of, looks_for, resolve, what_is_read
from stress.selftest.expectations import expectations


def asked(scenario: str, ordering: str, *settings: str, fault: str = "") -> None:
    resolve(RunRequest(scenario, orderings=(ordering,), settings=settings, faults=(fault,) if fault else ()))


@pytest.mark.parametrize(
    ("scenario", "ordering", "settings", "said"),
    [
        (
            "mmio", "spec", ("fault_retry=local",),
            '--set: fault_retry: no step of the flow "mmio" looks at it under spec, it would change nothing; '
            'in flow "memslots" or "zero_step" one does',
        ),
        (
            "review", "v6_16", ("sept_free=after_hkid",),
            '--set: sept_free: no step of the flow "shootdown" looks at it under v6_16, it would change nothing; '
            'in flow "sept_pages" one does',
        ),
        (
            "review", "spec", ("shared_flush=track",),
            '--set: shared_flush: no step of the flow "shootdown" looks at it under spec, it would change nothing; '
            'in flow "shared_ept" one does',
        ),
        (
            "review", "spec", ("busy.aug=bug",),
            '--set: busy.aug: no step of the flow "shootdown" looks at it under spec, it would change nothing; '
            'in flow "memslots", "populate", "sept_pages", "teardown" or "zero_step" one does',
        ),
        (
            "review", "spec", ("busy.track.read=bug",),
            '--set: busy.track.read: no step of the flow "shootdown" looks at it under spec, it would change nothing; '
            "under read_locked or v18 one does",
        ),
        ("populate", "v18", ("busy.aug.write=bug",), "--set: busy.aug.write: no step"),
        ("review", "v18", ('busy={ block = "bug", aug = "bug" }',), "--set: busy.aug: no step"),
        ("review", "v18", ("busy.block.read=bug", "busy.block.write=skip"), "--set: busy.block.write: no step"),
        (
            "review", "spec", ('table=["remove"]',),
            '--set: table: no step of the flow "shootdown" looks at it under spec, it would change nothing; '
            'in flow "sept_pages" one does',
        ),
        ("sept_pages", "v6_16", ('table=["remove"]',), "--set: table: no step"),
        ("review", "spec", ("fault_mmu_lock=write",), "--set: fault_mmu_lock: no step"),
        ("review", "spec", ("lps=3",), "--set: lps: no step"),
        ("mmio", "spec", ("reads=sequential",), "--set: reads: no step"),
        ("review", "block,remove", ("track_busy=none",), "--set: track_busy: no step"),
        ("review", "spec", ("busy.block=none", "busy.remove=none", "sept_busy=none"), "--set: sept_busy: no step"),
        ("review", "block,track,remove", ("kick_by=signal",), "--set: kick_by: no step"),
        (
            "review", "kick_without_wait", ("kick_by=membarrier",),
            'kick_by: "membarrier" waits until every CPU has answered, and the kick of kick_without_wait does not',
        ),
        (
            "review", "parallel_kick", ("kick_by=membarrier",),
            'kick_by: "membarrier" waits until every CPU has answered, and the kick of parallel_kick does not wait at',
        ),
    ],
)  # fmt: skip
def test_a_key_that_no_step_looks_at_is_refused_with_where_one_does(scenario, ordering, settings, said) -> None:
    with pytest.raises(UsageFault) as refused:
        asked(scenario, ordering, *settings)

    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("scenario", "ordering", "settings"),
    [
        ("zero_step", "spec", ("fault_retry=local",)),
        ("sept_pages", "v6_16", ("sept_free=live",)),
        ("shared_ept", "spec", ("shared_flush=track",)),
        ("review", "spec", ("shared_flush=request", "lps=2", "sept_free=live")),
        ("review", "spec", ("busy.block=none", "busy.track=none", "busy.remove=retry_without_vcpus")),
        ("review", "spec", ("kick.wait=false", "track_busy=none", "sept_busy=none", "serialized=false")),
        ("review", "spec", ("busy.track.read=bug", "serialized=false")),
        ("populate", "v18", ("busy.aug.write=bug", "fault_mmu_lock=write", "busy.sept_add=spin")),
        ("flush_current", "v18", ("busy.track.read=tries(2)",)),
        ("sept_pages", "v6_16", ('table=["remove"]', "sept_free=live")),
        ("review", "spec", ("reads=hot_set", "gap=3", "rate=10.0", "tick_us=7", "yields={}", "module=none")),
        ("review", "v6_16", ("expect=safe", "duration_s=1s", "kick_by=membarrier")),
        ("review", "kick_without_wait", ("kick_by=signal",)),
    ],
)
def test_a_key_that_a_step_looks_at_or_that_is_at_its_default_is_taken(scenario, ordering, settings) -> None:
    asked(scenario, ordering, *settings)


@pytest.mark.parametrize(
    ("scenario", "ordering", "settings", "fault", "said"),
    [
        ("populate", "lock mmu_lock,block,track,kick,remove,unlock mmu_lock", (), "",
         r'found "lock mmu_lock" in the flow "populate", where a zapper holds it'),
        ("sept_pages", "mine", (), "", "where UNBLOCK of a page-table page is not modelled"),
        ("writes", "mine", (), "", "an SPTE has forgotten"),
        ("writes", "spec", ("module=tdx",), "",
         '^module: expected "none", or flow = "writes[+]shared_ept", as spec has no step "wbinvd", and KVM no SPTE of '
         'its own, found "tdx"$'),
        ("flush_current", "read_locked", (), "",
         "found \"lock sept_lock\" in the flow \"flush_current\", where a vCPU's own tdx_track"),
        ("flush_current", "v6_16", ("no_entry_lock=true",), "",
         "found \"no_entry_lock\" in the flow \"flush_current\", where a vCPU's own tdx_track"),
        # Where a fault would be looked for is said of what else was asked for.
        ("sept_pages", "spec", ("sept_free=live",), "freeze_child_once", r"; under read_locked or v18 one does$"),
        # A kick that does not wait awaits nobody but in the shootdown that repairs.
        ("review", "kick_without_wait", ("on_error=stop",), "exiting_not_awaited",
         r"; under .* spec, v18, v6_16, v6_18 or v6_19 one does$"),
        # A request that nobody makes is not cleared late though vCPUs look for one.
        ("review", "spec", ('entry=["requests"]',), "request_cleared_late", "no step"),
        ("review", "spec", ("module=none",), "remove_without_tracking", r'^fault "remove_without_tracking": no step'),
    ],
)  # fmt: skip
def test_what_a_machine_has_no_use_for_is_refused(
    tmp_path: Path, scenario: str, ordering: str, settings: tuple[str, ...], fault: str, said: str
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('shootdown = ["block", "remove"]\nbusy = { remove = "hand_up" }\nundo = ["unblock"]')

    with pytest.raises(UsageFault, match=said):
        asked(scenario, str(mine) if ordering == "mine" else ordering, *settings, fault=fault)


def test_what_a_machine_has_a_use_for_beside_these_is_taken() -> None:
    asked("writes", "v6_19", "module=tdx")
    asked("writes", "spec", "module=tdx", "flow=writes+shared_ept", "shared_pages=1")
    asked("review", "kick_without_wait", fault="exiting_not_awaited")
    asked("review", "v18", fault="request_cleared_late")


@pytest.mark.parametrize(
    ("scenario", "ordering", "fault", "said"),
    [
        ("review", "spec", "request_cleared_late",
         "; under flag_gate, parallel_kick, v18, v6_16, v6_18 or v6_19 one does"),
        ("review", "v18", "let_in_too_early", "; under read_locked, v6_16, v6_18 or v6_19 one does"),
        ("review", "kick_then_track", "gate_without_interrupts", "; under flag_gate, parallel_kick or v18 one does"),
        ("review", "spec", "sept_remove_without_tracking", '; in flow "sept_pages" one does'),
        ("mmio", "spec", "populate_unfrozen",
         '; in flow "memslots", "populate", "sept_pages", "teardown" or "zero_step" one does'),
    ],
)  # fmt: skip
def test_a_fault_for_which_nothing_looks_is_refused_with_where_something_does(scenario, ordering, fault, said) -> None:
    with pytest.raises(UsageFault) as refused:
        asked(scenario, ordering, fault=fault)

    flow = load_scenario(scenario).flow
    nothing = f'fault "{fault}": no step of the flow "{flow}" looks at it under {ordering}, it would change nothing'
    assert str(refused.value) == nothing + said


def test_a_fault_is_refused_under_the_one_ordering_that_does_not_look_for_it() -> None:
    with pytest.raises(UsageFault, match="looks at it under spec"):
        resolve(RunRequest("review", faults=("request_cleared_late",)))


def test_an_ordering_may_say_what_only_other_flows_look_at_and_a_scenario_of_ones_own_may_not(tmp_path: Path) -> None:
    assert load_ordering("v6_16").fault_retry == "local"
    asked("review", "v6_16")

    mine = tmp_path / "mine.toml"
    mine.write_text('orderings = ["spec"]\nvcpus = 1\nzappers = 1\nshared_flush = "track"\n')
    with pytest.raises(UsageFault) as refused:
        resolve(RunRequest(str(mine)))
    assert str(refused.value).startswith(f"{mine}: shared_flush: no step of the flow")


WITHOUT_GRACE = load_ordering("spec").model_copy(update={"faults": ("no_grace_period",)})


@pytest.mark.parametrize(
    "refuse",
    [
        lambda: resolve_exploration(ExploreRequest("small", ("spec",), faults=("let_in_too_early",))),
        lambda: resolve_exploration(ExploreRequest("small", ("spec",), settings=("fault_retry=local",))),
        lambda: design(BenchRequest("review", orderings=("spec",), settings=("lps=3",))),
        lambda: design(BenchRequest("review", orderings=("spec",), sweep="lps=2,3")),
        lambda: resolve_atlas(ExploreRequest("small", ("v18",), faults=("let_in_too_early",))),
        lambda: resolve_atlas(ExploreRequest("small", ("v18",), settings=("fault_retry=local",))),
        lambda: expectations([WITHOUT_GRACE], (), short=False, duration=None, seed=None),
    ],
    ids=["explore fault", "explore key", "bench", "bench sweep", "atlas fault", "atlas key", "selftest"],
)
def test_every_verb_refuses_it(refuse) -> None:
    with pytest.raises(UsageFault, match="no step of the flow"):
        refuse()


def test_a_recording_with_a_fault_for_which_no_step_looks_is_refused(tmp_path: Path) -> None:
    spec, file = load_ordering("spec"), tmp_path / "w.json"
    rules = rules_of(spec, 1, ("let_in_too_early",))
    made = recorded(spec, rules, Size(vcpus=1, zappers=1, pages=1, tlb_entries=1), "no_progress", [Move("vcpu 0", 0)])
    file.write_text(witness_text(made.witness))

    with pytest.raises(UsageFault, match=r'^fault "let_in_too_early": no step of the flow "shootdown"'):
        replay(ReplayRequest(file=file))


def test_a_pair_whose_fault_its_ordering_does_not_look_for_is_none_of_what_holds() -> None:
    def read(flow: str, ordering: str, *faults: str) -> bool:
        return is_read(Cell(flow, load_ordering(ordering), faults))

    assert not read("shootdown", "spec", "let_in_too_early")
    assert read("shootdown", "v6_16", "let_in_too_early")
    assert read("shootdown", "spec")
    assert read("teardown", "spec", "remove_ignores_state", "taken_for_unfinalized")
    assert not read("sept_pages", "spec", "freeze_child_once")


@pytest.mark.parametrize("name", faults())
def test_every_fault_is_looked_for_on_the_machines_that_show_it(name: str) -> None:
    shown = faults()[name]
    (raced, ordering), (explored, _) = to_race(shown), to_explore(shown)

    for scenario in (raced, explored[0]):
        assert looks_for(shown.faults, what_is_read(scenario, ordering))


@pytest.mark.parametrize("scenario", shipped_scenarios(), ids=lambda one: one.name)
def test_every_key_of_a_shipped_scenario_is_looked_at_under_each_of_its_orderings(scenario) -> None:
    _, orderings = apply_settings(scenario, list(map(load_ordering, scenario.orderings)), ())

    check_read(scenario, orderings, dict.fromkeys(scenario.machine, scenario.name))


@pytest.mark.parametrize("ordering", shipped_orderings(), ids=lambda one: one.name)
def test_every_key_of_a_shipped_ordering_is_looked_at_in_some_flow(
    ordering: Ordering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stress.resolve._elsewhere", lambda *_: iter(()))  # long to find, and tested above
    unread = {key for key in ordering.model_fields_set if not key.startswith(("name", "title", "source", "why"))}
    for flow in FLOWS:
        scenario = load_scenario(example_of(flow_name(flow)))
        for key in list(unread):
            try:
                check_read(scenario, [ordering.model_copy(update={"faults": ()})], {key: ""})
            except UsageFault:
                continue
            unread.remove(key)

    assert not unread


def test_no_flow_looks_for_every_fault() -> None:
    for flow in FLOWS:
        scenario = load_scenario(example_of(flow_name(flow)))
        found = what_is_read(scenario, load_ordering("spec")).faults
        assert 0 < found < sum(Fault)
