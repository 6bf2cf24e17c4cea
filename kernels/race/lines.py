"""What a harness needs of the kernels: both actors compiled, the state at the start, and labels as text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels import layout
from kernels.language.parse import flat
from kernels.language.straight import subs
from kernels.language.syntax import SITES, Step
from kernels.layout import Actor, Layout
from kernels.race.clock import Calibration
from kernels.race.ring import SITE_BITS
from kernels.race.trace import SO_MANY, ticks_of_entries
from kernels.race.variant import BARE, Variant
from kernels.race.weave import alone, straight
from kernels.tdx import words
from kernels.tdx.flows import FLOWS
from kernels.tdx.rules import NS_SHIFT, Flow, Rules

__all__ = ["Kernels", "label_text", "labels_of", "load", "ns_of_entry", "prepare"]

Run = Callable[[np.ndarray, Layout, Rules, Actor], int]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The straight lines; each runs without the GIL until it is told to stop, and returns 0."""

    vcpu: Run
    zapper: Run


def record(fields: Layout | Rules) -> Any:
    """The same fields as one record of int64, which compiled code takes as a single pointer."""
    return np.array(tuple(fields), [(name, np.int64) for name in fields._fields])[()]


def _entry(compiled: Any, traced: bool) -> Run:
    def run(td: np.ndarray, lay: Layout, rules: Rules, me: Actor) -> int:
        if traced and not lay.trace_entries:
            raise ValueError("traced kernels need rings: expected a layout of plan(..., trace=N), found none")
        return int(compiled(td, record(lay), record(rules), me))

    return run


def load(variant: Variant = BARE, flow: int = Flow.SHOOTDOWN) -> Kernels:
    """Compile both actors of a flow, or take them from the cache; they run once on a machine of one page, already
    stopped.
    """
    return Kernels(load_one("vcpu", variant, flow), load_one("zapper", variant, flow))


def load_one(kind: str, variant: Variant, flow: int = Flow.SHOOTDOWN) -> Run:
    """One actor, `vcpu` or `zapper`, compiled or from the cache."""
    run = _entry(straight(FLOWS[Flow(flow)].of(kind), variant), variant.traced)
    lay = layout.plan(1, 1, 1, 1, flow=flow, lps=1, trace=2 * variant.traced)
    td = np.zeros(lay.total_words, np.int64)
    rules = Rules(*([0] * len(Rules._fields)))._replace(flow=flow)
    prepare(td, lay, rules, 1)
    td[lay.control + layout.STOP_ZAPPERS] = td[lay.control + layout.STOP_VCPUS] = 1
    run(td, lay, rules, layout.ACTORS[kind](lay, 0))
    return run


def prepare(td: np.ndarray, lay: Layout, rules: Rules, seed: int) -> None:
    """Write the start into zeroed words: every page mapped and accepted, or in a two-level flow none, epoch 1, nobody
    inside, each actor's random seed.

    `td` is an int64 array of `lay.total_words`. Raises ValueError where it is not, or is not aligned to 8 bytes.
    """
    if td.dtype != np.int64 or td.shape != (lay.total_words,) or td.ctypes.data % 8:
        raise ValueError(f"expected {lay.total_words} aligned int64 words, found {td.shape} of {td.dtype}")
    td[lay.epoch_tracking] = words.ONE_EPOCH
    for node in range(lay.pages + lay.tables):
        at = node * lay.page_stride
        if lay.tables:
            td[lay.sept + at] = words.FREE | words.SVE
            td[lay.owner + at] = 1 << 8 | words.PAGE_FREE
            td[lay.content + at] = words.LEFT_BEHIND
            continue
        td[lay.sept + at] = words.MAPPED | words.RWX | words.SVE | (1 << words.HPA_SHIFT)
        td[lay.owner + at] = 1 << 8
        td[lay.mirror + at] = words.SPTE_PRESENT
        if lay.flow == Flow.MMIO:
            td[lay.memslot + at] = words.SLOT_NONE | words.SLOT_SETTLED
            td[lay.shared_spte + at] = words.SPTE_NONPRESENT
            td[lay.shared_owner + at] = (1 << 8) | words.PAGE_FREE
    seeds = np.random.SeedSequence(seed).generate_state(lay.vcpus + lay.zappers, np.uint64) >> np.uint64(2)
    actors = [layout.vcpu_actor(lay, i) for i in range(lay.vcpus)] + [
        layout.zapper_actor(lay, i) for i in range(lay.zappers)
    ]
    for actor, drawn in zip(actors, seeds, strict=True):
        td[actor.tally + layout.RNG] = int(drawn) | 1
    for place, actor in enumerate(actors):
        td[actor.tally + layout.TRACE_RING] = lay.trace + place * lay.trace_stride


def label_text(lay: Layout, label: int) -> str:
    """An actor's LABEL word as text: `kick: load_acquire ipi[vcpu 3] (kernels/tdx/kvm/kick.py:88)`."""
    site, word = label & ((1 << SITE_BITS) - 1), label >> SITE_BITS
    if not 1 <= site <= len(SITES):
        return "not started"
    found = SITES[site - 1]
    verb, _, named = found.text.partition(" ")
    return (
        f"{found.function}: {verb} {layout.name_of(lay, word) if named else ''}".rstrip()
        + f" ({found.file}:{found.line})"
    )


def labels_of(flow: int, kinds: tuple[str, ...] = ("vcpu", "zapper")) -> list[str]:
    """The labels of a flow's actors, where a scenario may perturb them, by site number; empty where there is none: at
    steps of other flows, choices, and the steps of a guest's innermost loop.
    """
    labels = [""] * (len(SITES) + 1)
    for kind in kinds:
        for function in filter(lambda one: one.labelled, subs(FLOWS[Flow(flow)].of(kind))):
            for step in flat(function.body):
                if isinstance(step, Step) and not step.is_choice:
                    labels[step.site.number] = step.site.name
    return labels


def ns_of_entry(clock: Calibration) -> float:
    """Nanoseconds that an entry of a ring takes, alone on this CPU with warm caches: the best of some tries."""
    lay = layout.plan(1, 1, 1, 1, trace=1024)
    td = np.zeros(lay.total_words, np.int64)
    rules = Rules(*([0] * len(Rules._fields)))._replace(clock=int(clock.clock), ticks_to_ns=clock.ticks_to_ns)
    prepare(td, lay, rules, 1)
    run = _entry(alone(ticks_of_entries), True)
    best = min(run(td, lay, rules, layout.zapper_actor(lay, 0)) for _ in range(9))
    return best * clock.ticks_to_ns / (1 << NS_SHIFT) / SO_MANY
