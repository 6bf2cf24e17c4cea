"""Parts of a machine, alone and two at a time: what they fill, and what a right and a wrong order show beside them."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.language.parse import subs
from kernels.tdx.kvm.zapper import claim_page, put_back
from kernels.tdx.part import Part, contradiction, has_tables, parts, parts_of
from kernels.tdx.parts import batch
from kernels.tdx.protocol import Size, protocol_of
from kernels.tdx.rules import FLOWS, Flow, MemslotZap, Rules, flow_name, flow_named
from kernels.tests.orders import NO_KICK, SPEC, V6_16, V18
from kernels.tests.witnesses import shows

ROOM = Path(__file__).resolve().parents[2]
PAIRS = [one | other for one, other in itertools.combinations(Flow, 2)]
TOGETHER = [flow for flow in PAIRS if not contradiction(flow)]
# Ranges are taken, and given away, where faults populate in the places of that machine.
LEFT_OUT = {Flow.BATCH | Flow.POPULATE: {claim_page, put_back}, Flow.BATCH | Flow.SEPT_PAGES: {put_back}}


def called_by(function) -> set:
    return {inner for one in subs(function) for inner in (one, *one.calls.values())}


@pytest.mark.parametrize("flow", TOGETHER, ids=flow_name)
def test_of_two_parts_in_one_place_the_upper_one_goes_on_with_what_is_below(flow: Flow):
    (below_it, lower), (_, upper) = ((of, part) for of, part in parts().items() if of & flow)
    known = upper.on == flow_name(below_it)
    for place in (lower.fills.keys() & upper.fills.keys()) - LEFT_OUT.get(flow, set()) if not known else ():
        assert flow_name(below_it) in upper.above, f"{place.name}: neither is said to be above the other"
        above, below = upper.fills[place], lower.fills[place]
        assert above is below or {place, below} & called_by(above), f"{place.name}: {below.name} is lost"


@pytest.mark.parametrize("flow", [*FLOWS, *TOGETHER], ids=flow_name)
def test_whatever_stands_uppermost_in_a_place_is_called_by_the_machine(flow: Flow):
    """But for what faults that map have no use for: what takes TDs down puts no page back, and a guest that goes on
    with its instruction accepts by one; what a batch has for them alone, and memslots for a fault that is retried.
    """
    called = {one.source.__code__ for actor in protocol_of(flow).actors.values() for one in subs(actor)}
    its = parts_of(flow).values()
    uppermost = {place: filling for part in its for place, filling in (*part.fills.items(), *part.of_vcpus.items())}

    unused = {place.name for place, filling in uppermost.items() if filling.source.__code__ not in called}
    known = {"put_back": flow & Flow.TEARDOWN, "mem_page_accept": flow & Flow.ZERO_STEP}
    known |= dict.fromkeys(("take_from", "give_all_away"), flow & Flow.BATCH if not has_tables(flow) else Flow(0))
    known |= dict.fromkeys(
        ("event_comes", "memslot_goes"), flow & Flow.MEMSLOTS if not flow & Flow.ZERO_STEP else Flow(0)
    )
    assert unused == {name for name, here in known.items() if here}


def test_a_flow_has_one_name_whichever_way_it_is_written():
    assert flow_name(flow_named("zero_step+mmio")) == flow_name(flow_named("mmio+zero_step")) == "mmio+zero_step"
    assert flow_name(0) == "shootdown"


def test_a_part_that_speaks_of_one_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch, "PART", Part({}, above=("populate", "populated")))

    with pytest.raises(ImportError, match=r"kernels/tdx/parts/batch\.py: PART: there is no part populated"):
        parts.__wrapped__()


NAPS = '''"""A vCPU that may stay out for a turn."""

from kernels.language.steps import choice, steps
from kernels.race.tally import two
from kernels.tdx.kvm.vcpu_run import stays_out
from kernels.tdx.part import Part


@choice(two, says=("goes on", "naps"))
def naps(td, lay, rules, me, random):
    return random & 1


@steps
def naps_first(td, lay, rules, me):
    return (yield naps(td, lay, rules, me))


PART = Part({stays_out: naps_first}, not_with={"populate": "there it looks whether the VM lives"})
'''
STEPPED = """
from kernels.search.schedule import Schedule, interpreted_machines
from kernels.tdx.part import contradiction
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Flow, Rules

protocol, rules = of_flow(Rules(*map(int, {rules}))._replace(flow=int(Flow.NAPS)))
run = Schedule(protocol, rules, Size(1, 1), made=interpreted_machines(protocol))
for nap in (1, 0):
    run.until("vcpu 0", "naps_first.naps")
    run.step("vcpu 0", nap)
    print(run.site("vcpu 0").name)
print(*contradiction(Flow.NAPS | Flow.ZERO_STEP), sep="; ")
"""


def test_a_part_is_a_file_in_the_folder_and_nothing_else(tmp_path: Path):
    shutil.copytree(ROOM, tmp_path / "kernels", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    (tmp_path / "kernels/tdx/parts/naps.py").write_text(NAPS)

    code = STEPPED.format(rules=list(map(int, SPEC)))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [
        "acknowledge.load_acquire_ipi", "vcpu.store_seq_cst_mode",
        "naps; zero_step; there it looks whether the VM lives",
    ]  # fmt: skip


def machine(rules: Rules, flow: Flow) -> tuple[Rules, Size]:
    """The order beside these parts: one vCPU, one zapper, as few pages as the parts have room in."""
    if has_tables(flow):
        rules = rules._replace(serialized=0, zap_for_write=rules.serialized)
    pages = 4 if flow == Flow.BATCH | Flow.SHARED_EPT else 2 if flow & Flow.BATCH else 1
    rules = rules._replace(
        flow=int(flow),
        batch=2 if flow & Flow.BATCH else 1,
        lps=2,
        shared_pages=pages // 2 * bool(flow & Flow.SHARED_EPT),
    )
    return rules._replace(hp_lock_timeout=1, memslot_zap=int(MemslotZap.MMIO)), Size(
        1, 1, pages, 4 if flow & Flow.BATCH else 2
    )


UNTRACKED = "tracking_not_done stale_after_done"
test_two_parts_together_leave_a_right_order_right_and_a_wrong_one_wrong = shows({
    f"{flow_name(flow)}, {'right' if rules is not NO_KICK else 'wrong'}": (*machine(rules, flow), harm, states)
    for flow, rules, harm, states in (
        (Flow.MMIO | Flow.ZERO_STEP, SPEC, "", 6_082),
        (Flow.MMIO | Flow.ZERO_STEP, NO_KICK, "tracking_not_done entry_state_incorrect", 6_402),
        (Flow.POPULATE | Flow.MIGRATE, V6_16, "", 21_830),
        (Flow.POPULATE | Flow.MIGRATE, NO_KICK, f"{UNTRACKED} entry_state_incorrect", 16_842),
        (Flow.BATCH | Flow.SHARED_EPT, SPEC, "", 37_156),
        (Flow.BATCH | Flow.SHARED_EPT, NO_KICK, f"{UNTRACKED} use_after_remove", 41_327),
        (Flow.BATCH | Flow.POPULATE, SPEC, "", 29_007),
        (Flow.BATCH | Flow.POPULATE, NO_KICK, f"{UNTRACKED} entry_state_incorrect", 32_464),
        (Flow.BATCH | Flow.SEPT_PAGES, V18, "", 59_676),
        (Flow.BATCH | Flow.SEPT_PAGES, NO_KICK, f"{UNTRACKED} entry_state_incorrect", 43_632),
    )
})  # fmt: skip
