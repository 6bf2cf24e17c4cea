"""What a protocol says of its states to compiled code: each function here is what holds where it says nothing.

A search is compiled with the protocol's own function in the place of each, see `kernels/search/tables.py`.
"""


def normal(lay, word, value):
    """What a search keeps of a word that holds this value: values that nobody can tell apart are one."""
    return value


def over(plan, lay, row):
    """Whether nobody waits for anybody any more."""
    return 0


def rests(lay, actor, word, value):
    """Whether an endless actor that has just left this value in a word lets others go first, in a random walk."""
    return 0


def in_shared(plan, row, order):
    """What words add to a fingerprint that name ending actors and are nobody's own, renamed: each actor's place in this
    order in place of its number.
    """
    return 0


def of_ending(plan, row, actor, order):
    """The same of an ending actor's words, by its index."""
    return 0


def of_endless(plan, row, actor, order):
    """The same of an endless actor's words, by its index."""
    return 0


def held_by(plan, known, order):
    """The same of what an endless actor's locals hold of such words."""
    return 0


def broken_by(lay, word, before, after):
    """The invariants that a change of a word breaks, a bit each."""
    return 0


def broken_in(plan, memo, lay, row):
    """The invariants that a state breaks, a bit each."""
    return 0
