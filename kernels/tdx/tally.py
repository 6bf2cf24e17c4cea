"""Measuring and counting what is this protocol's: outcomes by page, statuses, durations, turns."""

from kernels.language.atomics import (
    bit_length,
    exchange_seq_cst,
    fetch_or_seq_cst,
    load_relaxed,
    own,
    pause,
    set_own,
    store_release,
    yield_cpu,
)
from kernels.language.steps import harness, local, steps
from kernels.layout import DEADLINE, HIST_WORDS, NEXT_START, OUTCOME_COUNTS, RNG, STOP_ENDING, STOP_ENDLESS
from kernels.race.tally import bucket_of, count, nanoseconds_of, now, relax, show, xorshift
from kernels.race.trace import keep_outcome, keep_status, kept
from kernels.tdx.bits import epoch_of
from kernels.tdx.counters import (
    AGE_BUCKETS,
    AGES,
    HEAD_WORDS,
    KICKS_MET,
    MET,
    MET_BEFORE,
    MET_OR_STALE,
    OUTCOME_MET,
    OUTCOME_SHOOTDOWNS,
    READS,
    SHOOTDOWNS_MET,
    STATUS_COUNTS,
    STATUSES,
    TRACK_RETRIES,
    TRACK_RETRIES_MAX,
)
from kernels.tdx.outcomes import Outcome
from kernels.tdx.statuses import OUTCOME_OF_STATUS, PLACE_OF_STATUS, SUCCESS, Status


@local
def outcome_of(status):
    """The outcome under which a status other than SUCCESS is counted."""
    for mask, code, outcome in OUTCOME_OF_STATUS:
        if status & mask == code:
            return outcome
    return Outcome.unknown_status


@kept(keep_outcome)
@local
def note(td, lay, me, gpa, outcome):
    """Count an outcome; `gpa` is the page whose shootdown showed it, or -1."""
    show(td, me, outcome)
    if gpa >= 0 and not load_relaxed(td, lay.page_flags + gpa) & (1 << outcome):
        fetch_or_seq_cst(td, lay.page_flags + gpa, 1 << outcome)


@local
def each_page(td, lay, rules, me):
    return lay.pages


@harness()
def count_reads(td, me, reads):
    """Reads through a current translation."""
    count(td, me, READS, reads)
    count(td, me, OUTCOME_COUNTS + Outcome.fresh, reads)


@kept(keep_status)
@harness(told=True)
def count_status(td, me, leaf, status):
    """Count the status of a SEAMCALL or TDCALL by leaf."""
    place = int(Status.OTHER)
    for code, known in PLACE_OF_STATUS:
        if status == code:
            place = known
            break
    count(td, me, STATUS_COUNTS + leaf * STATUSES + place, 1)


@steps(in_place=True)
def count_call(td, lay, rules, me, leaf, gpa, status):
    """Count how a SEAMCALL or TDCALL has ended, and the outcome that it is if it has failed; `gpa` as in `note`."""
    count_status(td, me, leaf, status)
    if status != SUCCESS:
        note(td, lay, me, gpa, outcome_of(status))
    return 0


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
def keep_met(td, lay, me, gpa):
    """Keep with a page whether its shootdown met a vCPU. Some 20 ns, behind its clock."""
    if met(td, me):
        fetch_or_seq_cst(td, lay.page_flags + gpa, MET)


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
    ns = nanoseconds_of(ticks, rules.ticks_to_ns)
    at = me.tally + HEAD_WORDS + histogram * HIST_WORDS + bucket_of(ns)
    set_own(td, at, own(td, at) + 1)
    return ns


@harness()
def arm_tick_once(td, rules, me, entered):
    """The host's next timer tick on this CPU, where the last one is over: a vCPU that faults again and again is
    interrupted as often as another.
    """
    if entered > own(td, me.tally + DEADLINE):
        set_own(td, me.tally + DEADLINE, entered + rules.tick)


@harness()
def share_cpu_at_tick(td, rules, me):
    """Outside the guest, where actors share CPUs: let another one run once the tick was due."""
    if rules.shared_cpus and now(rules) > own(td, me.tally + DEADLINE):
        yield_cpu()


@harness()
def vcpu_stopping(td, lay):
    return load_relaxed(td, lay.control + STOP_ENDLESS)


@harness()
def zapper_stopping(td, lay):
    return load_relaxed(td, lay.control + STOP_ENDING)


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
