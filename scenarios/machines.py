"""Which keys of a scenario contradict each other: what cannot run, or would show nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernels.tdx.part import contradiction, has_tables, parts_of
from kernels.tdx.rules import MAX_PAGES, Flow, Ioctl, flow_name, flow_named
from scenarios.wording import shown

if TYPE_CHECKING:
    from scenarios.models import Scenario

LEAST_RATE = 0.001
# A TLB entry's tag has room for so many pages, private and shared ones together.
MAX_SHARED_PAGES = MAX_PAGES // 2
BELOW_A_TABLE = 8
# The module's own threshold; and failed TDCALLs where it has a time, which a TD's parameters set.
EPF_THRESHOLD, HP_LOCK_TIMEOUT = 6, 100


def scenario_contradictions(s: Scenario, a_rate: str | None) -> Iterator[tuple[str, str]]:
    """Each key that contradicts another, and how; `a_rate` is what a rate is. The first one is reported."""
    if 0 < s.rate < LEAST_RATE:
        yield "rate", f"expected {a_rate}, found {shown(s.rate)}"
    if s.module == "tdx_1_5_24" and not s.has(Flow.ZERO_STEP):
        text = f'expected "tdx", as the two differ in the flow "zero_step" alone, found {shown(s.module)}'
        yield "module", text
    if s.module == "none" and s.costs:
        yield "costs", 'expected "none", as module = "none" has no SEAMCALL that could take any time, found a table'
    for of, part in parts_of(flow_named(s.flow)).items() if s.module == "none" and s.flow != "shootdown" else ():
        if part.needs_module:
            yield "module", f'expected "tdx", as with "{flow_name(of)}" {part.needs_module}, found "none"'
    if s.reads == "hot_set" and s.pages < 8:
        yield "pages", f'expected 8 or more, as reads = "hot_set" favours an eighth of the pages, found {s.pages}'
    if s.has(Flow.TEARDOWN) and s.zappers != 1:
        yield (
            "zappers",
            f'expected 1, as one thread builds and destroys the TDs of flow = "teardown", found {s.zappers}',
        )
    if found := contradiction(flow_named(s.flow)):
        one, other, why = found
        yield "flow", f'"{one}" and "{other}" cannot be combined: {why}'
    if s.ioctls.count("+") + 1 < len(Ioctl) and not s.has(Flow.BUILD):
        text = f'expected flow = "build" beside it, as nobody makes ioctls in "{s.flow}", found {shown(s.ioctls)}'
        yield "ioctls", text
    yield from _of_batches(s)
    yield from _of_mmio(s)
    yield from _of_shared_pages(s)
    yield from _of_zero_step(s)
    yield from _of_writes(s)


def _of_batches(s: Scenario) -> Iterator[tuple[str, str]]:
    if not s.has(Flow.BATCH):
        if s.batch != 1:
            yield "batch", f'expected 1, or flow = "batch", as flow = "{s.flow}" takes page after page, found {s.batch}'
        if s.resched:
            yield "resched", f'expected flow = "batch" beside it, found flow = "{s.flow}", where nobody yields in a zap'
        return
    if has_tables(flow_named(s.flow)):
        if s.batch > BELOW_A_TABLE or s.batch & s.batch - 1:
            text = f"expected 1, 2, 4 or 8, as {BELOW_A_TABLE} pages are below a page-table page, found {s.batch}"
            yield "batch", text
        if s.resched:
            yield "resched", f'expected false, as what goes down in flow = "{s.flow}" is taken at once, found true'
    least = s.batch * s.zappers
    if s.pages < least:
        yield (
            "pages",
            f"expected {least} or more, zappers = {s.zappers} times batch = {s.batch}, found {s.pages}",
        )
    if s.tlb_entries < s.batch:
        yield (
            "tlb_entries",
            f"expected {_power_of_two(s.batch)} or more, or a vCPU's TLB forgets part of a batch of {s.batch} pages "
            f"before it is flushed, found {s.tlb_entries}",
        )


def _of_shared_pages(s: Scenario) -> Iterator[tuple[str, str]]:
    if not s.has(Flow.SHARED_EPT):
        if s.shared_pages:
            yield (
                "shared_pages",
                f'expected 0, or flow = "shared_ept", as flow = "{s.flow}" has none, found {s.shared_pages}',
            )
        return
    if not 1 <= s.shared_pages <= s.pages:
        yield "shared_pages", f"expected from 1 to {s.pages}, as pages = {s.pages}, found {s.shared_pages}"
    if s.has(Flow.BATCH) and (s.pages % s.batch or s.shared_pages % s.batch):
        text = f"expected pages and shared_pages in whole batches of {s.batch}, found {s.pages} and {s.shared_pages}"
        yield "shared_pages", text


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _of_mmio(s: Scenario) -> Iterator[tuple[str, str]]:
    if s.memslot_zap != "none" and not s.has(Flow.MMIO):
        yield "memslot_zap", f'expected "none", as flow = "{s.flow}" changes no memslot, found {shown(s.memslot_zap)}'
    if s.sept_ve_disable and not s.has(Flow.MMIO | Flow.ZERO_STEP):
        text = f'expected false, as every guest of flow = "{s.flow}" accepts in its #VE handler, found true'
        yield "sept_ve_disable", text
    if s.has(Flow.MMIO) and s.pages > MAX_SHARED_PAGES:
        text = f'expected at most {MAX_SHARED_PAGES}, as flow = "mmio" has as many shared pages, found {s.pages}'
        yield "pages", text


def _of_writes(s: Scenario) -> Iterator[tuple[str, str]]:
    if s.aging and not s.has(Flow.WRITES):
        yield "aging", f'expected false, or flow = "writes", as flow = "{s.flow}" has no page that is aged, found true'


def _of_zero_step(s: Scenario) -> Iterator[tuple[str, str]]:
    for key, usual in (("epf_threshold", EPF_THRESHOLD), ("hp_lock_timeout", HP_LOCK_TIMEOUT)):
        found = getattr(s, key)
        if found != usual and not s.has(Flow.ZERO_STEP):
            yield key, f'expected {usual}, or flow = "zero_step", as flow = "{s.flow}" has no such limit, found {found}'
