"""The verb `list`: what there is to run and to see, each with one line and its source."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from kernels.rules import Fault
from results.grades import GRADES, Grade
from results.tables import GRADE_STYLES
from scenarios.loader import shipped_orderings, shipped_scenarios
from stress.screen import Screen, write

FAULTS = {
    Fault.NO_FLUSH_AT_ENTRY: (
        "TDH.VP.ENTER sees a new epoch and does not flush the TLB",
        "intel/tdx-module TDX_1.5.01, adjust_tlb_tracking_state(), without its INVEPT",
    ),
    Fault.REMOVE_WITHOUT_TRACKING: (
        "TDH.MEM.PAGE.REMOVE does not ask whether TLB tracking is done",
        "intel/tdx-module TDX_1.5.01, tdh_mem_page_remove.c, without its call of is_tlb_tracked()",
    ),
    Fault.FLUSH_DROPPED_AT_YIELD: (
        'flow = "batch": a zap yields without its pending flush, and forgets it',
        "Linux a835429cda91, tdp_mmu_iter_cond_resched() in a GFN range zap, and its kin",
    ),
    Fault.INVEPT_SHARED_ROOT: (
        'flow = "shared_ept": INVEPT names the shared EPT\'s root, which no translation is tagged with',
        "Linux v6.16, arch/x86/kvm/vmx/tdx.c: tdx_flush_tlb_current(), why it does not do so",
    ),
    Fault.KEEP_MMIO_SPTE: (
        "KVM creates a memslot and does not zap the MMIO SPTE there (flow mmio)",
        "Linux arch/x86/kvm/mmu, a TD's MMIO SPTE: #VE is the CPU's own, no generation is looked at",
    ),
    Fault.NO_GRACE_PERIOD: (
        "KVM changes memslots and does not wait for the readers of the old ones (flow mmio)",
        "Linux virt/kvm/kvm_main.c, kvm_swap_active_memslots() without its synchronize_srcu_expedited()",
    ),
    Fault.POPULATE_UNFROZEN: (
        "KVM populates without freezing the mirror SPTE",
        "arch/x86/kvm/mmu/tdp_mmu.c, set_external_spte_present() without its try_cmpxchg64()",
    ),
    Fault.UNFREEZE_EARLY: (
        "KVM makes the mirror SPTE present before TDH.MEM.SEPT.ADD or TDH.MEM.PAGE.AUG",
        "arch/x86/kvm/mmu/tdp_mmu.c, set_external_spte_present() with its last store first",
    ),
    Fault.ACCEPT_WITHOUT_ZEROING: (
        "TDG.MEM.PAGE.ACCEPT leaves in the page what it held",
        "intel/tdx-module TDX_1.5.01, tdg_mem_page_accept.c, without its zeroing of the page",
    ),
    Fault.MOVE_WITHOUT_VP_FLUSH: (
        "KVM moves a vCPU to another processor without TDH.VP.FLUSH (flow migrate)",
        "Linux arch/x86/kvm/vmx/tdx.c, tdx_vcpu_load() without tdx_flush_vp_on_cpu()",
    ),
    Fault.NO_FLUSH_ON_SWITCH: (
        "TDH.VP.ENTER does not flush where another vCPU was entered last (flow migrate)",
        "intel/tdx-module TDX_1.5.01, tdh_vp_enter.c, without its comparison of last_tdvpr_pa",
    ),
    Fault.VP_FLUSH_WITHOUT_INVEPT: (
        "TDH.VP.FLUSH leaves the processor's TLB as it is (flow migrate)",
        "intel/tdx-module TDX_1.5.01, tdh_vp_flush.c, without its INVEPT",
    ),
    Fault.VP_FLUSH_KEEPS_LAST: (
        "TDH.VP.FLUSH does not forget which vCPU was entered last (flow migrate)",
        "intel/tdx-module TDX_1.5.01, tdh_vp_flush.c, without its reset of last_tdvpr_pa",
    ),
}
Entry = Mapping[str, Any]


def everything() -> dict[str, list[dict[str, Any]]]:
    """Scenarios, orderings, outcomes and faults, as `list --json` prints them."""
    scenarios = [
        {
            "name": scenario.name,
            "title": scenario.title,
            "source": f"scenarios/{scenario.name}.toml",
            "orderings": list(scenario.orderings),
        }
        for scenario in shipped_scenarios()
    ]
    orderings = [
        {
            "name": ordering.name,
            "title": ordering.title,
            "source": ordering.source,
            "expect": ordering.expect if isinstance(ordering.expect, str) else list(ordering.expect),
            "shootdown": list(ordering.shootdown),
        }
        for ordering in shipped_orderings()
    ]
    outcomes = [
        {"name": outcome.name, "title": why, "grade": grade.value, "source": "results/grades.py"}
        for outcome, (grade, why) in sorted(GRADES.items())
    ]
    faults = [
        {"name": str(fault.name).lower(), "title": title, "source": source} for fault, (title, source) in FAULTS.items()
    ]
    return {"scenarios": scenarios, "orderings": orderings, "outcomes": outcomes, "faults": faults}


def list_all(*, as_json: bool, color: bool) -> int:
    """Print everything; the exit code is 0."""
    listed = everything()
    if as_json:
        write(sys.stdout, json.dumps(listed, indent=1) + "\n")
        return 0
    screen = Screen(sys.stdout, color=color)
    for section, entries in listed.items():
        width = max(len(entry["name"]) for entry in entries)
        screen.show(Text(section.upper(), style="bold"), *(_entry(entry, width) for entry in entries), "", wrap=False)
    screen.line("tdx-stress run SCENARIO, or tdx-stress run --ordering ORDERING")
    return 0


def _entry(entry: Entry, width: int) -> Text:
    text = Text()
    text.append(f"  {entry['name']:<{width}}  {entry['title']}")
    if "grade" in entry:
        text.append(f"  [{entry['grade']}]", style=GRADE_STYLES[Grade(entry["grade"])])
    if entry.get("expect", "safe") != "safe":
        text.append(f"  [unsafe: {', '.join(entry['expect'])}]", style="red")
    text.append(f"\n  {'':<{width}}  {entry['source']}", style="dim")
    return text
