"""What a harness needs of the kernels: every kind of actor compiled, and labels as text."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from kernels.language.compile import compiled, passed
from kernels.language.parse import flat, subs
from kernels.language.syntax import Step, sites
from kernels.layout import STOP_ENDING, STOP_ENDLESS, Actor, Layout, actors, name_of
from kernels.protocol import Protocol
from kernels.race.clock import Calibration
from kernels.race.ring import SITE_BITS
from kernels.race.straight import BARE, Variant, straight
from kernels.race.ticks import NS_SHIFT
from kernels.race.trace import SO_MANY, ticks_of_entries

# A straight line: it runs without the GIL until it is told to stop, and returns 0.
Run = Callable[[np.ndarray, Layout, Any, Actor], int]


def load(protocol: Protocol, variant: Variant = BARE) -> Mapping[str, Run]:
    """Compile the actors of a protocol, by their kinds' names, or take them from the cache; they run once on its
    smallest machine, already stopped.
    """
    return {kind.name: load_one(protocol, kind.name, variant) for kind in protocol.actors}


def load_one(protocol: Protocol, kind: str, variant: Variant) -> Run:
    """One kind of actor, compiled or from the cache."""
    function = next(one for of, one in protocol.actors.items() if of.name == kind)
    line = straight(protocol, function, variant)

    def run(td: np.ndarray, lay: Layout, rules: Any, me: Actor) -> int:
        if variant.traced and not lay.trace_entries:
            raise ValueError("traced kernels need rings: expected a layout of plan(..., trace=N), found none")
        return int(line(*passed(td, lay, rules, me)))

    lay, rules, td = smallest(protocol, trace=2 * variant.traced)
    td[lay.control + STOP_ENDING] = td[lay.control + STOP_ENDLESS] = 1
    run(td, lay, rules, next(me for _, of, me in actors(lay) if of.name == kind))
    return run


def smallest(protocol: Protocol, trace: int) -> tuple[Layout, Any, np.ndarray]:
    """The smallest machine: its layout with such rings, its rules, and the words at its start."""
    rules, size = protocol.smallest
    lay = protocol.plan(rules, size, trace=trace)
    td = np.zeros(lay.total_words, np.int64)
    protocol.prepare(td, lay, rules, 1)
    return lay, rules, td


def label_text(lay: Layout, label: int) -> str:
    """An actor's LABEL word as text: `kick: load_acquire ipi[vcpu 3] (kernels/tdx/kvm/kick.py:88)`."""
    site, word = label & ((1 << SITE_BITS) - 1), label >> SITE_BITS
    if not 1 <= site <= len(known := sites()):
        return "not started"
    found = known[site - 1]
    verb, _, named = found.text.partition(" ")
    return f"{found.function}: {verb} {name_of(lay, word) if named else ''}".rstrip() + f" ({found.file}:{found.line})"


def labels_of(protocol: Protocol, kinds: Collection[str] = ()) -> list[str]:
    """The labels of a protocol's actors, of these kinds or of all, where a scenario may perturb them, by site number;
    empty where there is none: at steps of other protocols, choices, and the steps of a guest's innermost loop.
    """
    labels = [""] * (len(sites()) + 1)
    for actor in (one for kind, one in protocol.actors.items() if not kinds or kind.name in kinds):
        for function in (one for one in subs(actor) if one.labelled):
            for step in flat(function.body):
                if isinstance(step, Step) and not step.is_choice:
                    labels[step.site.number] = step.site.name
    return labels


def ns_of_entry(protocol: Protocol, clock: Calibration) -> float:
    """Nanoseconds that an entry of a ring takes, alone on this CPU with warm caches: the best of some tries."""
    lay, rules, td = smallest(protocol, trace=1024)
    rules = rules._replace(clock=int(clock.clock), ticks_to_ns=clock.ticks_to_ns)
    run = compiled("entries", (ticks_of_entries,), protocol.records).ticks_of_entries
    *_, (_, _, me) = actors(lay)
    best = min(run(td, lay, rules, me) for _ in range(9))
    return best * clock.ticks_to_ns / (1 << NS_SHIFT) / SO_MANY
