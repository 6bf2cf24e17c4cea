"""Where every shared word stands: the protocol's state first, then the tally that only counts.

One flat int64 array holds both. The first `state_words` are the state of the protocol: all that a step may depend on.
What follows is the tally: counters, histograms and labels, which never influence a step. Words that different actors
write stand on lines of their own (128 bytes: two 64-byte lines, as the adjacent-line prefetcher fetches them);
`packed` puts every word beside the next, as a search over states wants it.
"""

from enum import IntEnum
from typing import NamedTuple

from kernels.tdx.extras import OF_LP, OF_PAGE, OF_VCPU, SINGLES, words_of
from kernels.tdx.outcomes import OUTCOMES
from kernels.tdx.rules import TWO_LEVELS, Flow
from kernels.tdx.statuses import Leaf, Status

LINE_WORDS = 16
# Guest pages below one page-table page in a two-level flow, where the S-EPT has 512.
LEAVES_SHIFT = 3
MAX_VCPUS, MAX_ZAPPERS, MAX_PAGES, MAX_TLB_ENTRIES, MAX_LPS = 512, 62, 65536, 4096, 64

# Histograms: HdrHistogram's buckets for 2 significant digits from 1 ns to 2**40 ns.
HIST_SUB_BUCKETS = 256
HIST_WORDS = 34 * HIST_SUB_BUCKETS // 2

# The head of an actor's tally. Offsets in words.
LABEL, RNG, SPINS, DEADLINE, NEXT_START, SEQUENCE = 0, 1, 2, 3, 4, 5
# Where the actor's ring begins, and how many entries it has written in all; see `kernels/race/ring.py`.
TRACE_RING, TRACED = 6, 7
# The module locks that the actor holds: of the epoch or the tree, of an entry, of the TDR; and those that it waits for,
# a bit each; see `kernels/race/lock_contention.py`.
HELD, HELD_ENTRY, WAITING_LOCKS, HELD_TDR = 8, 9, 10, 15
# What a perturbed run did to the actor: yields, delays, their ticks where it spun, nanoseconds where it slept.
YIELDED, DELAYED, SPUN_TICKS, SLEPT_NS = 11, 12, 13, 14
ENTRIES, EXITS, FLUSHES, FAULT_EXITS, TICKS, GATE_WAIT_NS, OUT_OF_GUEST_NS, READS = 16, 17, 18, 19, 20, 21, 22, 23
SHOOTDOWNS, BUG_ON, TRACK_RETRIES, TRACK_RETRIES_MAX, IPIS, REPAIRS, FINISHED, MOVES = 24, 25, 26, 27, 28, 29, 30, 31
OUTCOME_COUNTS = 32
OUTCOME_SHOOTDOWNS = OUTCOME_COUNTS + OUTCOMES
# The same of the shootdowns that met a vCPU, then how many these were in all.
OUTCOME_MET = OUTCOME_SHOOTDOWNS + OUTCOMES
SHOOTDOWNS_MET = OUTCOME_MET + OUTCOMES
# vCPUs that kicks have found in the guest, in all and before the shootdown at hand.
KICKS_MET, MET_BEFORE = SHOOTDOWNS_MET + 1, SHOOTDOWNS_MET + 2
AGES, AGE_BUCKETS = SHOOTDOWNS_MET + 3, 16
STATUS_COUNTS, LEAVES, STATUSES = AGES + AGE_BUCKETS, 1 + max(Leaf), 1 + max(Status)


class ModuleLock(IntEnum):
    """The module's locks that are raced for."""

    EPOCH = 0
    TREE = 1
    ENTRY = 2
    TDR = 3


# Failed tries by lock, SEAMCALL and who held it: a SEAMCALL, several different ones, nobody any more, or nobody but the
# host's wish for priority.
CONTENTION = STATUS_COUNTS + LEAVES * STATUSES
SEVERAL, GONE, HOST_PRIORITY, COLUMNS = LEAVES, LEAVES + 1, LEAVES + 2, LEAVES + 3
# Waits that ended with the lock, by lock and SEAMCALL: how many, their failed tries, the most of one, nanoseconds, the
# most of one; and the one that goes on, by lock.
WAITING, WAIT_FIELDS = CONTENTION + len(ModuleLock) * LEAVES * COLUMNS, 5
TIMES, TRIES, MOST_TRIES, WAITED_NS, LONGEST_NS = range(WAIT_FIELDS)
WAITS = WAITING + len(ModuleLock) * LEAVES * WAIT_FIELDS
HEAD_WORDS = -(-(WAITS + len(ModuleLock) * WAIT_FIELDS) // LINE_WORDS) * LINE_WORDS

# Histograms of a zapper (ns) and of a vCPU (ns), in this order behind the head.
ZAPPER_HISTS = (
    "shootdown",
    "shootdown_met",
    "response",
    "lock",
    "block",
    "kick_send",
    "kick_ack",
    "kick",
    "track",
    "remove",
    "stale_window",
)
VCPU_HISTS = ("gate_wait", "out_of_guest")
# Those that a flow has beside them.
MORE_VCPU_HISTS: dict[int, tuple[str, ...]] = {Flow.MMIO: ("mmio_trip", "mmio_ve"), Flow.MIGRATE: ("move", "pin")}
# One shootdown of so many stamps its phases, the others the whole: a stamp costs some 10 ns, a phase often no more.
PHASES_EVERY = 8

# The control block of the tally. Offsets in words, each on its own line.
GO, STOP_ZAPPERS, STOP_VCPUS, READY = 0, LINE_WORDS, 2 * LINE_WORDS, 3 * LINE_WORDS
# Every ring is frozen; outcomes, a bit each, at which an actor freezes them.
FROZEN, FREEZE_ON = 4 * LINE_WORDS, 4 * LINE_WORDS + 1
CONTROL_WORDS = 5 * LINE_WORDS
MAX_SITES = 1024
# Of a site: odds of a yield, above them those of a delay, both in 65536, and whether it sleeps; the least, the most;
# whether a delay has struck.
DELAY_ODDS_SHIFT, SLEEPS, PERTURB_FIELDS = 20, 1 << 40, 4
STRUCK = 3 * MAX_SITES
MAX_TRACE_ENTRIES = 1 << 16
ENTRY_WORDS = 4  # of an entry of a ring


class Layout(NamedTuple):
    """Offsets in words into the one array; fields named `*_stride` are the words from one element to the next."""

    vcpus: int
    zappers: int
    pages: int
    tables: int  # page-table pages above the guest pages; 0 where a flow has leaves alone
    tlb_entries: int  # a power of two
    flow: int
    lps: int  # logical processors; 0 where TLBs belong to vCPUs
    # state: one each
    epoch_tracking: int
    epoch_lock: int
    tree_lock: int
    mmu_lock: int
    gate: int
    wait_for_sept_zap: int
    vm_bugged: int
    slots_lock: int
    num_assoc_vcpus: int
    tdr_lock: int
    td_state: int
    runnable: int
    # state: a page, then a page-table page
    page_stride: int
    sept: int
    owner: int
    bepoch: int
    mirror: int
    memslot: int
    shared_spte: int
    shared_owner: int
    content: int  # no word where a flow has leaves alone
    # state: a logical processor
    lp_stride: int
    occupant: int
    lp_ipi: int
    last_tdvpr: int
    lp_tlb: int
    # state: a vCPU
    vcpu_stride: int
    mode: int
    requests: int
    ipi: int
    srcu: int
    assoc_lpid: int
    flush_ipi: int
    possibly_epf_stepping: int
    last_epf_gpa: int
    hp_lock_busy: int
    reloads: int
    vcpu_epoch: int
    tlb: int
    vcpu_pc: int
    vcpu_register: int
    # state: a zapper
    zapper_stride: int
    stage: int
    awaiting: int
    zapper_pc: int
    zapper_register: int
    # tally
    state_words: int
    control: int
    page_flags: int
    page_blocked_at: int
    lp_cpus: int
    perturb: int
    vcpu_tally: int
    vcpu_tally_stride: int
    zapper_tally: int
    zapper_tally_stride: int
    trace: int  # rings: those of the vCPUs, then those of the zappers
    trace_stride: int
    trace_entries: int  # of each ring, a power of two; 0 where nothing is traced
    total_words: int


class Actor(NamedTuple):
    """Who runs a step: the index among its kind, the base of its tally, its program counter and registers (step
    machine).
    """

    index: int  # type: ignore[assignment]
    tally: int
    pc: int
    register: int


def vcpu_hists(flow: int) -> tuple[str, ...]:
    """The histograms of a vCPU under a flow, in the order in which they stand behind the head."""
    return VCPU_HISTS + MORE_VCPU_HISTS.get(flow, ())


def _up(words: int, line: int) -> int:
    return -(-words // line) * line


def plan(
    vcpus: int,
    zappers: int,
    pages: int,
    tlb_entries: int,
    *,
    flow: int = Flow.SHOOTDOWN,
    lps: int = 1,
    packed: bool = False,
    vcpu_registers: int = 0,
    zapper_registers: int = 0,
    trace: int = 0,
) -> Layout:
    """The layout of a machine of this size; `packed` for searches, else spread over lines for real processes.
    A `flow` may have words of its own (`kernels/tdx/extras.py`), and `lps` logical processors.
    A two-level `flow` has page-table pages above the guest pages, and what each page holds.

    `trace`: how many entries the ring of each actor has, for traced kernels. Raises ValueError where a size is out of
    range, or `tlb_entries` or `trace` is not a power of two.
    """
    for name, value, most in (
        ("vcpus", vcpus, MAX_VCPUS),
        ("zappers", zappers, MAX_ZAPPERS),
        ("pages", pages, MAX_PAGES),
        ("tlb_entries", tlb_entries, MAX_TLB_ENTRIES),
        ("lps", lps, MAX_LPS),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"{name}: expected 1 to {most}, found {value}")
    if tlb_entries & (tlb_entries - 1):
        raise ValueError(f"tlb_entries: expected a power of two, found {tlb_entries}")
    if trace & (trace - 1) or not 0 <= trace <= MAX_TRACE_ENTRIES:
        raise ValueError(f"trace: expected 0 or a power of two up to {MAX_TRACE_ENTRIES}, found {trace}")
    line = 1 if packed else LINE_WORDS
    at: dict[str, int] = {}
    used = 0
    tables = (pages - 1 >> LEAVES_SHIFT) + 1 if flow in TWO_LEVELS else 0

    def put(name: str, words: int = 1) -> None:
        nonlocal used
        at[name] = used
        used = _up(used + words, line)

    # One structure in the module, and whoever takes the lock goes on to the epoch: the line travels once.
    at["epoch_tracking"], at["epoch_lock"] = used, used + 1
    used = _up(used + 2, line)
    for name in ("tree_lock", "mmu_lock", "gate", "wait_for_sept_zap", "vm_bugged"):
        put(name)
    for name, words in words_of(SINGLES, flow):
        put(name, words)

    def repeat(count: int, stride: str, fields: tuple[tuple[str, int], ...]) -> None:
        nonlocal used
        start = used
        for name, words in fields:
            put(name, words)
        at[stride] = used - start
        used = start + count * at[stride]

    repeat(pages + tables, "page_stride", (("sept", 2), ("owner", 1), ("mirror", 1), *words_of(OF_PAGE, flow)))
    at["bepoch"] = at["sept"] + 1  # whoever blocks or removes the page uses both
    lps *= flow == Flow.MIGRATE
    of_lp = dict(words_of(OF_LP, flow))
    repeat(lps, "lp_stride", (*{**of_lp, "lp_tlb": tlb_entries * of_lp["lp_tlb"]}.items(),))
    repeat(
        vcpus,
        "vcpu_stride",
        (
            ("mode", 1),
            ("requests", 1),
            ("ipi", 1),
            *words_of(OF_VCPU, flow),
            ("vcpu_epoch", 1),
            ("tlb", tlb_entries),
            ("vcpu_pc", 1),
            ("vcpu_register", vcpu_registers),
        ),
    )
    repeat(
        zappers,
        "zapper_stride",
        (("stage", 1), ("awaiting", vcpus), ("zapper_pc", 1), ("zapper_register", zapper_registers)),
    )
    state_words = used
    line = LINE_WORDS
    used = _up(used, line)
    put("control", CONTROL_WORDS)
    put("page_flags", pages + tables)
    put("page_blocked_at", pages + tables)
    put("lp_cpus", lps)
    put("perturb", PERTURB_FIELDS * MAX_SITES)
    repeat(vcpus, "vcpu_tally_stride", (("vcpu_tally", HEAD_WORDS + len(vcpu_hists(flow)) * HIST_WORDS),))
    repeat(zappers, "zapper_tally_stride", (("zapper_tally", HEAD_WORDS + len(ZAPPER_HISTS) * HIST_WORDS),))
    repeat(vcpus + zappers, "trace_stride", (("trace", trace * ENTRY_WORDS),))
    return Layout(
        vcpus=vcpus,
        zappers=zappers,
        pages=pages,
        tables=tables,
        tlb_entries=tlb_entries,
        flow=int(flow),
        lps=lps,
        state_words=state_words,
        trace_entries=trace,
        total_words=used,
        **at,
    )


def vcpu_actor(lay: Layout, index: int) -> Actor:
    """The vCPU with this index."""
    shift = index * lay.vcpu_stride
    return Actor(index, lay.vcpu_tally + index * lay.vcpu_tally_stride, lay.vcpu_pc + shift, lay.vcpu_register + shift)


def zapper_actor(lay: Layout, index: int) -> Actor:
    """The zapper with this index."""
    shift = index * lay.zapper_stride
    return Actor(
        index, lay.zapper_tally + index * lay.zapper_tally_stride, lay.zapper_pc + shift, lay.zapper_register + shift
    )


ACTORS = {"vcpu": vcpu_actor, "zapper": zapper_actor}


def name_of(lay: Layout, word: int) -> str:
    """What stands at a word of the state: `td_epoch`, `mode[vcpu 3]`, `sept[page 7]`, `tlb[vcpu 0][5]`."""
    of_page, of_vcpu = ([name for name, words in words_of(names, lay.flow) if words] for names in (OF_PAGE, OF_VCPU))
    families = (
        ("vcpu", lay.vcpus, lay.vcpu_stride, ("mode", "requests", "ipi", "vcpu_epoch", "tlb", "vcpu_pc",
        "vcpu_register", *of_vcpu)),
        ("zapper", lay.zappers, lay.zapper_stride, ("stage", "awaiting", "zapper_pc", "zapper_register")),
        ("page", lay.pages + lay.tables, lay.page_stride, ("sept", "bepoch", "owner", "mirror", *of_page)),
        ("lp", lay.lps, lay.lp_stride, tuple(OF_LP)),
    )  # fmt: skip
    for kind, count, stride, fields in families:
        start = getattr(lay, fields[0])
        if start <= word < start + count * stride:
            index, rest = divmod(word - start, stride)
            field = max((f for f in fields if getattr(lay, f) - start <= rest), key=lambda f: getattr(lay, f))
            offset = rest - (getattr(lay, field) - start)
            many = field in ("tlb", "lp_tlb", "awaiting", "vcpu_register", "zapper_register")
            if kind == "page" and index >= lay.pages:
                kind, index = "table", index - lay.pages
            return f"{field}[{kind} {index}]" + (f"[{offset}]" if many else "")
    more = [name for name, words in words_of(SINGLES, lay.flow) if words]
    singles = ("epoch_tracking", "epoch_lock", "tree_lock", "mmu_lock", "gate", "wait_for_sept_zap", "vm_bugged", *more)
    return next((name for name in singles if getattr(lay, name) == word), f"word {word}")
