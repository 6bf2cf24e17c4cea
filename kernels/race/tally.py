"""Measuring and counting: time, histograms, counters, labels. Never part of a state, never the reason for a step.

What only a race does is `@harness`. `note` is `@local`: an outcome is seen in a race and in a search alike.
"""

from kernels.language.atomics import (
    bit_length,
    exchange_seq_cst,
    fetch_or_seq_cst,
    load_relaxed,
    monotonic_ns,
    own,
    pause,
    prefetch_write,
    set_own,
    sleep_ns,
    store_relaxed,
    store_release,
    timestamp,
    yield_cpu,
)
from kernels.language.steps import harness, local
from kernels.language.syntax import out_of_line
from kernels.layout import (
    AGE_BUCKETS,
    AGES,
    DEADLINE,
    DELAY_ODDS_SHIFT,
    DELAYED,
    FINISHED,
    HEAD_WORDS,
    HIST_WORDS,
    KICKS_MET,
    MAX_SITES,
    MET_BEFORE,
    NEXT_START,
    OUTCOME_COUNTS,
    OUTCOME_MET,
    OUTCOME_SHOOTDOWNS,
    READS,
    RNG,
    SHOOTDOWNS_MET,
    SLEEPS,
    SLEPT_NS,
    SPINS,
    SPUN_TICKS,
    STATUS_COUNTS,
    STATUSES,
    STOP_VCPUS,
    STOP_ZAPPERS,
    STRUCK,
    TRACK_RETRIES,
    TRACK_RETRIES_MAX,
    YIELDED,
)
from kernels.tdx.outcomes import OUTCOMES, Outcome
from kernels.tdx.rules import NS_SHIFT
from kernels.tdx.statuses import (
    EPT_ENTRY_STATE_INCORRECT,
    EPT_PAGE_NOT_FREE,
    EPT_VIOLATION_EXIT,
    EPT_WALK_FAILED,
    FLUSHVP_NOT_DONE,
    GPA_RANGE_ALREADY_BLOCKED,
    GPA_RANGE_NOT_BLOCKED,
    HOST_PRIORITY_BUSY_TIMEOUT,
    LIFECYCLE_STATE_INCORRECT,
    OP_STATE_INCORRECT,
    OPERAND_BUSY,
    OPERAND_INVALID,
    PAGE_ALREADY_ACCEPTED,
    PREVIOUS_TLB_EPOCH_BUSY,
    RCX,
    RDX,
    SAME_PAGE_PENDING,
    SEPT_TREE,
    STATUS_MASK,
    SUCCESS,
    TD_EPOCH,
    TD_KEYS_NOT_CONFIGURED,
    TDR,
    TLB_TRACKING_NOT_DONE,
    VCPU_ASSOCIATED,
    VCPU_NOT_ASSOCIATED,
    Status,
)
from kernels.tdx.words import epoch_of

FRESH = int(Outcome.fresh)
# Behind the outcomes in the flags of a page: whether a kick of its shootdown found a vCPU in the guest.
MET = 1 << OUTCOMES
MET_OR_STALE = MET | (
    (1 << Outcome.stale_in_window)
    | (1 << Outcome.stale_after_kick)
    | (1 << Outcome.stale_after_done)
    | (1 << Outcome.use_after_remove)
)
_OUTCOME_OF_STATUS = (
    (STATUS_MASK, OPERAND_BUSY, int(Outcome.operand_busy)),
    (-1, PREVIOUS_TLB_EPOCH_BUSY, int(Outcome.previous_epoch_busy)),
    (-1, TLB_TRACKING_NOT_DONE | RCX, int(Outcome.tracking_not_done)),
    (-1, GPA_RANGE_NOT_BLOCKED | RCX, int(Outcome.not_blocked)),
    (-1, GPA_RANGE_ALREADY_BLOCKED | RCX, int(Outcome.already_blocked)),
    (-1, EPT_ENTRY_STATE_INCORRECT | RCX, int(Outcome.entry_state_incorrect)),
    (-1, SAME_PAGE_PENDING, int(Outcome.entry_state_incorrect)),
    (-1, EPT_WALK_FAILED | RCX, int(Outcome.ept_walk_failed)),
    (-1, PAGE_ALREADY_ACCEPTED, int(Outcome.page_already_accepted)),
    (-1, EPT_VIOLATION_EXIT, int(Outcome.fault)),
    (-1, VCPU_ASSOCIATED, int(Outcome.vcpu_associated)),
    (-1, VCPU_NOT_ASSOCIATED, int(Outcome.vcpu_not_associated)),
    (-1, FLUSHVP_NOT_DONE, int(Outcome.flushvp_not_done)),
    (-1, EPT_PAGE_NOT_FREE | RCX, int(Outcome.ept_page_not_free)),
    (-1, LIFECYCLE_STATE_INCORRECT, int(Outcome.td_state_incorrect)),
    (-1, TD_KEYS_NOT_CONFIGURED, int(Outcome.td_state_incorrect)),
    (-1, OP_STATE_INCORRECT, int(Outcome.td_state_incorrect)),
    (-1, HOST_PRIORITY_BUSY_TIMEOUT, int(Outcome.host_priority_timeout)),
)
_UNKNOWN = int(Outcome.unknown_status)
PLACE_OF_STATUS = (
    (SUCCESS, int(Status.SUCCESS)),
    (OPERAND_BUSY | TD_EPOCH, int(Status.BUSY_TD_EPOCH)),
    (OPERAND_BUSY | SEPT_TREE, int(Status.BUSY_SEPT_TREE)),
    (OPERAND_BUSY | RCX, int(Status.BUSY_RCX)),
    (PREVIOUS_TLB_EPOCH_BUSY, int(Status.PREVIOUS_TLB_EPOCH_BUSY)),
    (TLB_TRACKING_NOT_DONE | RCX, int(Status.TLB_TRACKING_NOT_DONE)),
    (GPA_RANGE_NOT_BLOCKED | RCX, int(Status.GPA_RANGE_NOT_BLOCKED)),
    (GPA_RANGE_ALREADY_BLOCKED | RCX, int(Status.GPA_RANGE_ALREADY_BLOCKED)),
    (EPT_ENTRY_STATE_INCORRECT | RCX, int(Status.EPT_ENTRY_STATE_INCORRECT)),
    (SAME_PAGE_PENDING, int(Status.EPT_ENTRY_STATE_INCORRECT)),
    (PAGE_ALREADY_ACCEPTED, int(Status.PAGE_ALREADY_ACCEPTED)),
    (EPT_VIOLATION_EXIT, int(Status.EPT_VIOLATION_EXIT)),
    (OPERAND_INVALID | RCX, int(Status.OPERAND_INVALID)),
    (EPT_WALK_FAILED | RCX, int(Status.EPT_WALK_FAILED)),
    (VCPU_ASSOCIATED, int(Status.VCPU_ASSOCIATED)),
    (VCPU_NOT_ASSOCIATED, int(Status.VCPU_NOT_ASSOCIATED)),
    (FLUSHVP_NOT_DONE, int(Status.FLUSHVP_NOT_DONE)),
    (EPT_PAGE_NOT_FREE | RCX, int(Status.EPT_PAGE_NOT_FREE)),
    (OPERAND_BUSY | TDR, int(Status.BUSY_TDR)),
    (OPERAND_BUSY | RDX, int(Status.BUSY_RDX)),
    (LIFECYCLE_STATE_INCORRECT, int(Status.LIFECYCLE_STATE_INCORRECT)),
    (TD_KEYS_NOT_CONFIGURED, int(Status.TD_KEYS_NOT_CONFIGURED)),
    (OP_STATE_INCORRECT, int(Status.OP_STATE_INCORRECT)),
    (HOST_PRIORITY_BUSY_TIMEOUT, int(Status.HOST_PRIORITY_BUSY_TIMEOUT)),
)
_OTHER = int(Status.OTHER)


@local
def outcome_of(status):
    """The outcome under which a status other than SUCCESS is counted."""
    for mask, code, outcome in _OUTCOME_OF_STATUS:
        if status & mask == code:
            return outcome
    return _UNKNOWN


@local
def note(td, lay, me, gpa, outcome):
    """Count an outcome; `gpa` is the page whose shootdown showed it, or -1."""
    at = me.tally + OUTCOME_COUNTS + outcome
    set_own(td, at, own(td, at) + 1)
    if gpa >= 0 and not load_relaxed(td, lay.page_flags + gpa) & (1 << outcome):
        fetch_or_seq_cst(td, lay.page_flags + gpa, 1 << outcome)


@local
def xorshift(random):
    """The next of Marsaglia's 64-bit xorshift generator; never 0 from a seed other than 0."""
    random ^= random << 13
    random ^= (random >> 7) & ((1 << 57) - 1)
    return random ^ (random << 17)


@local
def two(td, lay, rules, me):
    return 2


@local
def each_page(td, lay, rules, me):
    """As many choices as there are pages."""
    return lay.pages


@local
def uniform_page(lay, random):
    """A page, each as likely as the other."""
    return (((random >> 32) & 0xFFFFFFFF) * lay.pages) >> 32


@harness()
def now(rules):
    """Ticks of the clock of this run."""
    return timestamp() if rules.clock == 0 else monotonic_ns()


@harness()
def stamp(rules, wanted):
    """Ticks of the clock where they are wanted: a read costs some 10 ns."""
    return now(rules) if wanted else 0


@harness()
def expect_write(td, word):
    """Ask for a line of the oracle before it is written, so that a step need not wait for what only measures."""
    prefetch_write(td, word)


@harness()
def count(td, me, counter, more):
    """Add to a counter of this actor."""
    set_own(td, me.tally + counter, own(td, me.tally + counter) + more)


@harness()
def count_reads(td, me, reads):
    """Reads through a current translation."""
    count(td, me, READS, reads)
    count(td, me, OUTCOME_COUNTS + FRESH, reads)


@harness()
def count_status(td, me, leaf, status):
    """Count the status of a SEAMCALL or TDCALL by leaf."""
    place = _OTHER
    for code, known in PLACE_OF_STATUS:
        if status == code:
            place = known
            break
    count(td, me, STATUS_COUNTS + leaf * STATUSES + place, 1)


@harness()
def count_retries(td, me, retries):
    """BUSY retries of one TRACK."""
    count(td, me, TRACK_RETRIES, retries)
    if retries > own(td, me.tally + TRACK_RETRIES_MAX):
        set_own(td, me.tally + TRACK_RETRIES_MAX, retries)


@harness()
def count_age(td, lay, me, gpa):
    """The age of a stale read: TD epochs since its page was blocked."""
    age = epoch_of(load_relaxed(td, lay.epoch_tracking)) - load_relaxed(td, lay.page_blocked_at + gpa)
    count(td, me, AGES + max(0, min(age, AGE_BUCKETS - 1)), 1)


@harness()
def blocked_at(td, lay, gpa, epoch):
    """Keep the epoch in which a page was blocked: PAMT's bepoch is lost when the page is added again."""
    store_release(td, lay.page_blocked_at + gpa, epoch)


@harness()
def start_meeting(td, me):
    """From here on a vCPU that a kick finds in the guest has been met by another shootdown."""
    set_own(td, me.tally + MET_BEFORE, own(td, me.tally + KICKS_MET))


@harness()
def met(td, me):
    """How many vCPUs the kicks of the shootdown at hand have found in the guest."""
    return own(td, me.tally + KICKS_MET) - own(td, me.tally + MET_BEFORE)


@harness()
def keep_met(td, lay, me, gpa, pages):
    """Keep with these pages, from `gpa` on, whether their shootdown met a vCPU. Some 20 ns, behind its clock."""
    if met(td, me):
        for place in range(pages):
            fetch_or_seq_cst(td, lay.page_flags + gpa + place, MET)


@harness()
def collect_flags(td, lay, me, gpa):
    """Count the outcomes that the last shootdown of this page showed, each once, and whether it met a vCPU: its kick
    found one in the guest, or one has read through the page's old translation, so that its TLB held it.
    """
    flags = exchange_seq_cst(td, lay.page_flags + gpa, 0)
    meeting = int(flags & MET_OR_STALE != 0)
    count(td, me, SHOOTDOWNS_MET, meeting)
    flags &= MET - 1
    while flags:
        outcome = bit_length(flags) - 1
        count(td, me, OUTCOME_SHOOTDOWNS + outcome, 1)
        count(td, me, OUTCOME_MET + outcome, meeting)
        flags ^= 1 << outcome


@harness()
def record(td, rules, me, histogram, ticks):
    """Count a duration in an HdrHistogram-shaped table of nanoseconds; returns the nanoseconds."""
    ns = min(max(0, (min(ticks, 1 << 43) * rules.ticks_to_ns) >> NS_SHIFT), (1 << 40) - 1)
    bucket = max(0, bit_length(ns) - 8)
    at = me.tally + HEAD_WORDS + histogram * HIST_WORDS + bucket * 128 + (ns >> bucket)
    set_own(td, at, own(td, at) + 1)
    return ns


@harness()
def relax(td, rules, me):
    """One turn of a waiting loop; where actors share CPUs every 128th turn gives the CPU away."""
    pause()
    if rules.shared_cpus:
        spins = own(td, me.tally + SPINS) + 1
        set_own(td, me.tally + SPINS, spins)
        if spins & 127 == 0:
            yield_cpu()


@harness()
def linger(td, at, tally, drawn):
    """Wait before a step, by the timestamp counter or asleep, between the least and the most of its site."""
    least, most = own(td, at + MAX_SITES), own(td, at + 2 * MAX_SITES)
    length = least + ((most - least + 1) * ((drawn >> 36) & 0xFFFFFF) >> 24)
    set_own(td, tally + DELAYED, own(td, tally + DELAYED) + 1)
    store_relaxed(td, at + STRUCK, 1)
    if own(td, at) & SLEEPS:
        set_own(td, tally + SLEPT_NS, own(td, tally + SLEPT_NS) + length)
        sleep_ns(length)
    else:
        set_own(td, tally + SPUN_TICKS, own(td, tally + SPUN_TICKS) + length)
        began = timestamp()
        while timestamp() - began < length:
            pause()


@out_of_line
@harness()
def hold_up(td, at, tally, odds):
    drawn = xorshift(own(td, tally + RNG))
    set_own(td, tally + RNG, drawn)
    if ((drawn >> 20) & 65535) < odds & ((1 << DELAY_ODDS_SHIFT) - 1):
        set_own(td, tally + YIELDED, own(td, tally + YIELDED) + 1)
        yield_cpu()
    if (drawn & 65535) < (odds & (SLEEPS - 1)) >> DELAY_ODDS_SHIFT:
        linger(td, at, tally, drawn)


@harness()
def perturb(td, at, tally):
    """In a perturbed run an actor may lose its CPU before a step, or be held up: with the odds of the step's site."""
    odds = own(td, at)
    if odds:
        hold_up(td, at, tally, odds)


@harness()
def arm_tick(td, rules, me, entered):
    """The host's next timer tick on this CPU."""
    set_own(td, me.tally + DEADLINE, entered + rules.tick)


@harness()
def share_cpu(rules):
    """Outside the guest, where actors share CPUs: let another one run."""
    if rules.shared_cpus:
        yield_cpu()


@harness()
def arm_tick_once(td, rules, me, entered):
    """The same where the last one is over: a vCPU that faults again and again is interrupted as often as another."""
    if entered > own(td, me.tally + DEADLINE):
        arm_tick(td, rules, me, entered)


@harness()
def share_cpu_at_tick(td, rules, me):
    """Outside the guest, where actors share CPUs: let another one run once the tick was due."""
    if rules.shared_cpus and now(rules) > own(td, me.tally + DEADLINE):
        yield_cpu()


@harness()
def vcpu_stopping(td, lay):
    return load_relaxed(td, lay.control + STOP_VCPUS)


@harness()
def zapper_stopping(td, lay):
    return load_relaxed(td, lay.control + STOP_ZAPPERS)


@harness()
def finish(td, me):
    """The actor is about to return."""
    store_release(td, me.tally + FINISHED, 1)


@harness()
def wait_turn(td, lay, rules, me):
    """Wait for the next shootdown to be due; returns its intended start in ticks (0 in a closed loop).

    Open loop: starts are `period` ticks apart whatever the last one took, so that a slow one does not hide the wait
    that it causes (coordinated omission). With start offsets they are due at multiples of `period`, which is one time
    base for all zappers as in litmus7's mode `timebase`, each put off by a length drawn anew.
    """
    if rules.period == 0:
        for _ in range(rules.gap):
            pause()
        return 0
    due = own(td, me.tally + NEXT_START)
    if due == 0:
        due = now(rules)
        if rules.start_offsets:
            due += rules.period - due % rules.period
    set_own(td, me.tally + NEXT_START, due + rules.period)
    if rules.start_offsets:
        drawn = xorshift(own(td, me.tally + RNG))
        set_own(td, me.tally + RNG, drawn)
        due += rules.start_offset + (rules.start_offsets * ((drawn >> 36) & 0xFFFFFF) >> 24)
    while now(rules) < due and not zapper_stopping(td, lay):
        relax(td, rules, me)
    return due
