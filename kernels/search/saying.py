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


def renamed(plan, how, word, order):
    """A word that names actors, with their places in this order in place of their numbers; `how` is which of the words
    that do it is like.
    """
    return word


def broken_by(lay, word, before, after):
    """The invariants that a change of a word breaks, a bit each."""
    return 0


def broken_in(plan, memo, lay, row):
    """The invariants that a state breaks, a bit each."""
    return 0
