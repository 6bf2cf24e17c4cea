"""What a move does, and doing it: an effect stands in a pool, once for all states that look the same to the move."""

from kernels.language.atomics import at_word
from kernels.search.fingerprint import sums_of

# An effect: how many numbers the move has (see `kernels.search.moves.move`), the outcomes it showed, the
# invariants it broke, the actor's own words behind it and by how much they change the sum, whether it writes another's
# word; then each write.
WAYS, SHOWN, BROKEN, OWN, OWN_SUM, ABROAD, WRITES, EFFECT_WORDS = range(8)
COLUMN, WRITTEN, REGION, DIFFERENCE, WRITE_WORDS = range(5)


def changes(memo, row, place, effect):
    """Whether the effect changes the state; `place` is the column of the actor's own words."""
    at = at_word(memo.pool, effect)
    return at[WRITES] != 0 or at[OWN] != row[place]


def apply(plan, memo, row, actor, effect):
    """Change a row, and the parts of its fingerprint, as the effect says."""
    at = at_word(memo.pool, effect)
    sums = sums_of(plan, row)
    row[plan.shared + actor] = at[OWN]
    sums[1 + actor] += at[OWN_SUM]
    for place in range(at[WRITES]):
        write = at_word(at, EFFECT_WORDS + place * WRITE_WORDS)
        row[write[COLUMN]] = write[WRITTEN]
        sums[write[REGION]] += write[DIFFERENCE]


def undo(plan, memo, row, actor, effect, before):
    """Make of a row what it was before the effect."""
    at = at_word(memo.pool, effect)
    sums, then = sums_of(plan, row), sums_of(plan, before)
    row[plan.shared + actor] = before[plan.shared + actor]
    sums[1 + actor] = then[1 + actor]
    for place in range(at[WRITES]):
        write = at_word(at, EFFECT_WORDS + place * WRITE_WORDS)
        row[write[COLUMN]] = before[write[COLUMN]]
        sums[write[REGION]] = then[write[REGION]]
