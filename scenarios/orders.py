"""Every order of an ordering's steps: all else stays as the ordering has it."""

import itertools
from collections.abc import Iterator

from scenarios.models import Ordering


def every_order(ordering: Ordering) -> Iterator[Ordering]:
    """Each order of the steps as an ordering of its own, named by them; in the order of `itertools.permutations`.

    As an order can be wrong and still means something, none of them is refused.
    """
    for steps in itertools.permutations(ordering.shootdown):
        name = ",".join(steps)
        yield ordering.model_copy(update={"name": name, "title": f"As {ordering.name}: {name}", "shootdown": steps})
