"""Every order of an ordering's steps: all else stays as the ordering has it."""

import itertools
from collections.abc import Iterator

from scenarios.contradictions import out_of_turn
from scenarios.models import Ordering


def every_order(ordering: Ordering) -> Iterator[Ordering]:
    """Each order of the steps as an ordering of its own, named by them; in the order of `itertools.permutations`.

    An order can be wrong and still means something; left out are those in which a part of a kick has nothing to do, and
    those that differ in which of two equal steps stands where.
    """
    for steps in dict.fromkeys(itertools.permutations(ordering.shootdown)):
        if any(out_of_turn(steps)):
            continue
        name = ",".join(steps)
        yield ordering.model_copy(update={"name": name, "title": f"As {ordering.name}: {name}", "shootdown": steps})
