"""Which keys of a scenario contradict each other: what cannot run, or would show nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernels.tdx.part import contradiction, has_tables, parts_of
from kernels.tdx.rules import MAX_PAGES, Flow, flow_name, flow_named
from scenarios.wording import shown

if TYPE_CHECKING:
    from scenarios.models import Scenario

LEAST_RATE = 0.001
# A TLB entry's tag has room for so many pages, private and shared ones together.
MAX_SHARED_PAGES = MAX_PAGES // 2
BELOW_A_TABLE = 8
# The module's own threshold; and failed TDCALLs where it has a time, which a TD's parameters set.
EPF_THRESHOLD, HP_LOCK_TIMEOUT = 6, 100

NO_LIMIT = 'or flow = "zero_step", as flow = "{flow}" has no such limit, found {found}'
# Keys that say nothing, but for what they are by default, without one of some parts; and why.
OF_PARTS = (
    ("ioctls", Flow.BUILD, 'expected flow = "build" beside it, as nobody makes ioctls in "{flow}", found {found}'),
    ("batch", Flow.BATCH, 'expected 1, or flow = "batch", as flow = "{flow}" takes page after page, found {found}'),
    ("resched", Flow.BATCH, 'expected flow = "batch" beside it, found flow = "{flow}", where nobody yields in a zap'),
    ("memslot_zap", Flow.MMIO, 'expected "none", as flow = "{flow}" changes no memslot, found {found}'),
    (
        "sept_ve_disable",
        Flow.MMIO | Flow.ZERO_STEP,
        'expected false, as every guest of flow = "{flow}" accepts in its #VE handler, found true',
    ),
    ("shared_pages", Flow.SHARED_EPT, 'expected 0, or flow = "shared_ept", as flow = "{flow}" has none, found {found}'),
    ("epf_threshold", Flow.ZERO_STEP, f"expected {EPF_THRESHOLD}, {NO_LIMIT}"),
    ("hp_lock_timeout", Flow.ZERO_STEP, f"expected {HP_LOCK_TIMEOUT}, {NO_LIMIT}"),
    (
        "aging",
        Flow.WRITES,
        'expected false, or flow = "writes", as flow = "{flow}" has no page that is aged, found true',
    ),
)


def scenario_contradictions(s: Scenario) -> Iterator[tuple[str, str]]:
    """Each key that contradicts another, and how. The first one is reported."""
    fields = type(s).model_fields
    if 0 < s.rate < LEAST_RATE:
        yield "rate", f"expected {fields['rate'].description}, found {shown(s.rate)}"
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
    for key, parts, text in OF_PARTS:
        if (found := getattr(s, key)) != fields[key].default and not s.has(parts):
            yield key, text.format(flow=s.flow, found=shown(found))
    if s.has(Flow.BATCH):
        yield from _of_batches(s)
    if s.has(Flow.MMIO) and s.pages > MAX_SHARED_PAGES:
        text = f'expected at most {MAX_SHARED_PAGES}, as flow = "mmio" has as many shared pages, found {s.pages}'
        yield "pages", text
    if s.has(Flow.SHARED_EPT):
        yield from _of_shared_pages(s)


def _of_batches(s: Scenario) -> Iterator[tuple[str, str]]:
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
        power = 1 << (s.batch - 1).bit_length()
        yield (
            "tlb_entries",
            f"expected {power} or more, or a vCPU's TLB forgets part of a batch of {s.batch} pages "
            f"before it is flushed, found {s.tlb_entries}",
        )


def _of_shared_pages(s: Scenario) -> Iterator[tuple[str, str]]:
    if not 1 <= s.shared_pages <= s.pages:
        yield "shared_pages", f"expected from 1 to {s.pages}, as pages = {s.pages}, found {s.shared_pages}"
    if s.has(Flow.BATCH) and (s.pages % s.batch or s.shared_pages % s.batch):
        text = f"expected pages and shared_pages in whole batches of {s.batch}, found {s.pages} and {s.shared_pages}"
        yield "shared_pages", text
