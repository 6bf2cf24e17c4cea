"""Safe orders raced against each other, and against orderings that a reader knows, in interleaved rounds.

In each round every one races once, in an order shuffled by the seed, so that a machine which slows down slows all.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from results.caveats import Caveat
from results.kinds.orders import AGAIN, REFERENCE, race_entries, races_caveats
from scenarios.loader import load_orderings, load_scenario
from scenarios.models import Ordering, Scenario
from stress.interrupts import Interrupts
from stress.processes.prepared import Prepared
from stress.processes.race import race

KNOWN = (REFERENCE, "v18", "v6_16")
BESIDE = (*KNOWN, AGAIN)
# As many rounds as a bench has at least; together they take RACING_S, whatever their number of orders.
ROUNDS, RACING_S, WARMUP_S = 10, 120.0, 0.05
MIN_S, MAX_S = 0.1, 1.0
LONGEST_S = 200.0  # no round starts after it, where starting workers takes far longer than it should
STARTING_S = 0.1  # of the workers of one race, and their end
SCENARIO = "yardstick"  # one vCPU and one zapper: a CPU for each on the smallest machine that has two


@dataclass(frozen=True, slots=True)
class Heat:
    """The race that is about to start: its number of how many, and the seconds that all of them have left, about."""

    number: int
    of: int
    round: int
    left_s: float


@dataclass(slots=True)
class Raced:
    """Rounds as they were run: by name, an entry of `runs` as result.json has it."""

    scenario: Scenario
    orderings: Sequence[Ordering]
    rounds: list[dict[str, dict[str, Any]]]
    seed: int
    seconds: float = 0.0

    def caveats(self, *, interrupted: bool) -> list[Caveat]:
        """Of races that did not all come to their end."""
        whole = sum(len(one) == len(self.orderings) for one in self.rounds)
        return races_caveats(whole, ROUNDS, interrupted=interrupted)

    def document(self) -> dict[str, Any]:
        """As it stands in the JSON. Percentiles are of rounds, so that an interrupted one counts as far as it came."""
        return {
            "scenario": self.scenario.model_dump(mode="json", exclude={"orderings"}),
            "rounds": len(self.rounds),
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "orders": race_entries(self.rounds, {one.name: one.shootdown for one in self.orderings}, BESIDE),
        }


def race_orders(
    prepared: Prepared,
    safe: Sequence[Ordering],
    seed: int,
    interrupts: Interrupts,
    show: Callable[[Heat], None],
    keep: Callable[[Raced], None],
) -> Raced:
    """Race these orders and the known orderings, the first of these twice; what an interrupt leaves out is not there.

    Each race has as long as lets all of them end within RACING_S. `show` is called before each, `keep` after each
    round. Raises HarnessFault where workers cannot be started.
    """
    begun = time.monotonic()
    known = load_orderings(KNOWN)
    orderings = [*safe, *known, known[0].model_copy(update={"name": AGAIN})]
    raced = Raced(racing_scenario(len(orderings), seed), orderings, [], seed)
    chance, count = random.Random(seed), ROUNDS * len(orderings)
    for number in range(ROUNDS):
        if time.monotonic() - begun > LONGEST_S:
            break
        one: dict[str, dict[str, Any]] = {}
        for ordering in chance.sample(orderings, len(orderings)):
            if interrupts:
                break
            done = number * len(orderings) + len(one)
            each = (time.monotonic() - begun) / done if done else raced.scenario.duration_s + STARTING_S
            show(Heat(done + 1, count, number + 1, each * (count - done)))
            run = race(prepared, ordering, raced.scenario, interrupts, lambda tally: lambda phase, left_s: None).json
            if not interrupts:
                one[ordering.name] = run
        if one:
            raced.rounds.append(one)
            raced.seconds = time.monotonic() - begun
            keep(raced)
    return raced


def racing_scenario(orderings: int, seed: int) -> Scenario:
    """The machine and the load of each race."""
    each_s = RACING_S / (ROUNDS * orderings) - STARTING_S - WARMUP_S
    changed = {"duration_s": round(min(max(each_s, MIN_S), MAX_S), 3), "warmup_s": WARMUP_S, "seed": seed}
    return load_scenario(SCENARIO).model_copy(update=changed)
