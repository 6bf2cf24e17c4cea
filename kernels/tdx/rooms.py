"""Every table and field of bits that has a fixed size, held against what is to stand in it: looked at at import.

What can be computed from the declarations is (`kernels/tdx/counters.py`: statuses, leaves, outcomes, a tally's head);
the rest are shifts and masks that compiled code has as literals; one that is too full would count one thing as another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from kernels import layout
from kernels.race import ring as rings
from kernels.tdx import bits, counters, guest, rules
from kernels.tdx import lock_contention as contention
from kernels.tdx.counters import ModuleLock
from kernels.tdx.outcomes import Outcome
from kernels.tdx.statuses import Leaf
from kernels.tdx.words import plan

INT64_BITS = 63  # those that a shift may use and the number stays positive


@dataclass(frozen=True, slots=True)
class Room:
    """What stands where, how much of it there is, and how much there may be."""

    where: str  # the file, and what to widen there
    what: str
    used: int
    most: int


def check(rooms: Iterable[Room]) -> None:
    """Raises ImportError for the first room that is too full."""
    for room in rooms:
        if room.used > room.most:
            raise ImportError(f"kernels/{room.where}: {room.what}: {room.used:,}, expected at most {room.most:,}")


def rooms() -> tuple[Room, ...]:
    """All of them but for the steps themselves, which are counted with their numbers."""
    head = _between(layout, "LABEL", "OUTCOME_COUNTS") + _between(counters, "SEQUENCE", "OUTCOME_SHOOTDOWNS")
    control = _between(layout, "GO", "CONTROL_WORDS")
    largest = plan(
        rules.MAX_VCPUS, rules.MAX_ZAPPERS, rules.MAX_PAGES, rules.MAX_TLB_ENTRIES, trace=layout.MAX_TRACE_ENTRIES
    )
    highest = (1 << 40) - 1  # nanoseconds that a histogram tells apart
    bucket = highest.bit_length() - 8
    return (
        Room("layout.py: OUTCOME_COUNTS", "words of a tally's head", 1 + max(head), layout.OUTCOME_COUNTS),
        Room("layout.py: LABEL and on", "words of a tally's head for so many places", len(head), len(set(head))),
        Room("layout.py: CONTROL_WORDS", "words of the control block", 1 + max(control), layout.CONTROL_WORDS),
        Room("layout.py: HIST_WORDS", "buckets", 1 + bucket * 128 + (highest >> bucket), layout.HIST_WORDS),
        Room("tdx/outcomes.py: Outcome", "numbers of outcomes without a gap", 1 + max(Outcome), len(Outcome)),
        Room("tdx/outcomes.py: Outcome", "outcomes, a bit each of a page's flags", len(Outcome), INT64_BITS),
        Room("tdx/rules.py: STEP_BITS", "numbers of an ordering's steps", max(rules.Step), rules.STEP_MASK),
        Room("tdx/rules.py: MOST_STEPS", "bits of an ordering's steps", rules.MOST_STEPS * rules.STEP_BITS, INT64_BITS),
        Room("tdx/rules.py: Fault", "faults, a bit each", max(rules.Fault).bit_length(), INT64_BITS),
        Room("race/ring.py: SITE_BITS", "sites of steps below the marks", layout.MAX_SITES - 1, min(rings.Mark) - 1),
        Room("race/ring.py: SITE_BITS", "numbers of marks", max(rings.Mark), (1 << rings.SITE_BITS) - 1),
        Room(
            "race/ring.py: REPEAT_SHIFT", "words of the largest machine", largest.total_words,
            1 << rings.REPEAT_SHIFT - rings.SITE_BITS,
        ),
        Room("tdx/bits.py: shooter_of", "zappers in the oracle's word of a page", rules.MAX_ZAPPERS, 64),
        Room("tdx/words.py: ipi", "zappers, a bit each, and one of all vCPUs", rules.MAX_ZAPPERS + 1, INT64_BITS),
        Room("tdx/bits.py: REFCOUNT_BITS", "references of vCPUs, two each", 2 * rules.MAX_VCPUS, 4095),
        Room("tdx/bits.py: REFCOUNT_BITS", "bits of references below td_epoch", 2 * bits.REFCOUNT_BITS, 24),
        Room(
            "tdx/bits.py: TAG_BITS", "guest pages and 1, private and shared or with tables",
            max(2 * rules.MAX_PAGES, rules.MAX_PAGES + largest.pages // 8), bits.TAG_MASK,
        ),
        Room("tdx/lock_contention.py: contended", "SEAMCALLs, five bits", max(Leaf), 31),
        Room("tdx/lock_contention.py: contended", "module locks, two bits", len(ModuleLock), 4),
        Room("tdx/lock_contention.py: EXCLUSIVE", "SEAMCALLs below it", max(Leaf), contention.EXCLUSIVE - 1),
        Room("tdx/guest.py: WHY_MASK", "ends of an access", guest.AGAIN, guest.WHY_MASK),
    )  # fmt: skip


def _between(module: ModuleType, first: str, end: str) -> list[int]:
    """The numbers of a module from one name on to another, as they stand in the file."""
    names = [*vars(module)]
    return [int(vars(module)[name]) for name in names[names.index(first) : names.index(end)]]
