"""Measuring and counting: time, histograms, counters, labels. Never part of a state, never the reason for a step.

What only a race does is `@harness`. `note` is `@local`: an outcome is seen in a race and in a search alike.
"""

from kernels.language.atomics import (
    bit_length,
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
    COST,
    COSTS,
    DELAY_ODDS_SHIFT,
    DELAYED,
    FINISHED,
    HIST_SUB_BUCKETS,
    MAX_SITES,
    OUTCOME_COUNTS,
    RNG,
    SLEEPS,
    SLEPT_NS,
    SPINS,
    SPREAD,
    SPREADS,
    SPUN_TICKS,
    STRUCK,
    YIELDED,
)
from kernels.race.ticks import NS_SHIFT


@local
def xorshift(random):
    """The next of Marsaglia's 64-bit xorshift generator; never 0 from a seed other than 0."""
    random ^= random << 13
    random ^= (random >> 7) & ((1 << 57) - 1)
    return random ^ (random << 17)


@local
def drawn(random, many):
    """A number below `many`, each as likely as the other, from the upper half of the random bits."""
    return ((random >> 32) & 0xFFFFFFFF) * many >> 32


@harness()
def nanoseconds_of(ticks, ticks_to_ns):
    """What a histogram can hold of a duration."""
    return min(max(0, (min(ticks, 1 << 43) * ticks_to_ns) >> NS_SHIFT), (1 << 40) - 1)


@harness()
def bucket_of(ns):
    """Where it stands in an HdrHistogram-shaped table."""
    bucket = max(0, bit_length(ns) - 8)
    return bucket * (HIST_SUB_BUCKETS // 2) + (ns >> bucket)


@local
def two(td, lay, rules, me):
    return 2


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


@harness()
def spend(td, sites, at, tally):
    """Spend a declared cost before a step, by the timestamp counter: a CPU that is in the module is not given away."""
    drawn = xorshift(own(td, tally + RNG))
    set_own(td, tally + RNG, drawn)
    length = own(td, at + COST) * own(td, sites + SPREAD + ((drawn >> 30) & (SPREADS - 1))) >> 16
    began = timestamp()
    while timestamp() - began < length:
        pause()


@out_of_line
@harness()
def hold_up(td, sites, at, tally, odds):
    drawn = xorshift(own(td, tally + RNG))
    set_own(td, tally + RNG, drawn)
    if ((drawn >> 20) & 65535) < odds & ((1 << DELAY_ODDS_SHIFT) - 1):
        set_own(td, tally + YIELDED, own(td, tally + YIELDED) + 1)
        yield_cpu()
    if (drawn & 65535) < (odds & (SLEEPS - 1)) >> DELAY_ODDS_SHIFT:
        linger(td, at, tally, drawn)
    if odds & COSTS:
        spend(td, sites, at, tally)


@harness()
def perturb(td, sites, site, tally):
    """In a perturbed run an actor may lose its CPU before a step, or be held up: with the odds of the step's site."""
    odds = own(td, sites + site)
    if odds:
        hold_up(td, sites, sites + site, tally, odds)


@harness()
def finish(td, me):
    """The actor is about to return."""
    store_release(td, me.tally + FINISHED, 1)


@local
def show(td, me, outcome):
    """Count an outcome: it is seen in a race and in a search alike."""
    at = me.tally + OUTCOME_COUNTS + outcome
    set_own(td, at, own(td, at) + 1)
