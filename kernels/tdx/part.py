"""A part of a machine: what its file in `kernels/tdx/parts` says of it, and which parts a machine has together.

A part is called what its file is; what it is the first sentence there says, and a value `PART` all else:

    PART = Part({claim_page: claim_range}, on="populate", not_with={"mmio": "a CPU's caches have the tags of ..."})

Words of its own it declares beside its steps (`kernels/tdx/words.py`). Nothing is said of it anywhere else.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from importlib import import_module
from typing import Any

from kernels.language.syntax import Steps
from kernels.layout import Layout
from kernels.tdx.rules import Flow, flow_name, flow_named


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """`fills`: what it has in which open place of the machine; such a function may call what is below it;
    `of_vcpus`: the same in vCPUs alone.

    `on`: the part that it is made to stand on, which is there wherever it is. `above`: those over whose steps its own
    stand where both fill a place. `not_with`: parts that it cannot be combined with, and why; what stands on one of
    them neither. `alone`: why it is with none but the one that it stands on. `needs_module`: why there is no machine of
    it without the TDX module. `start(td, lay)`: what else is written into the first state. Where not `folds`, its steps
    tell actors apart; where not `lasting`, a vCPU may come to its end.
    """

    fills: Mapping[Steps, Steps]
    of_vcpus: Mapping[Steps, Steps] = field(default_factory=dict)
    on: str = ""
    above: Sequence[str] = ()
    not_with: Mapping[str, str] = field(default_factory=dict)
    alone: str = ""
    needs_module: str = ""
    start: Callable[[Any, Layout], None] | None = None
    folds: bool = True
    lasting: bool = True


@functools.cache
def parts() -> Mapping[Flow, Part]:
    """Every part, from the lowest layer up. Raises ImportError where a file speaks of one that there is not."""
    known = {flow_name(flow): import_module(f"kernels.tdx.parts.{flow_name(flow)}").PART for flow in Flow}
    for name, part in known.items():
        if strange := {part.on or name, *part.above, *part.not_with} - known.keys():
            raise ImportError(f"kernels/tdx/parts/{name}.py: PART: there is no part {' or '.join(sorted(strange))}")
    below = {name: [*filter(None, [part.on]), *part.above] for name, part in known.items()}
    return {flow_named(name): known[name] for name in TopologicalSorter(below).static_order()}


def parts_of(flow: int) -> Mapping[Flow, Part]:
    """The parts of a machine from the lowest layer up, with what others stand on."""
    asked = [part for of, part in parts().items() if of & flow]
    bases = {flow_named(part.on) for part in asked if part.on}
    return {of: part for of, part in parts().items() if of & flow or of in bases}


def has_tables(flow: int) -> bool:
    """Whether there are page-table pages above the guest pages, none of them there at the start."""
    return Flow.POPULATE in parts_of(flow)


def contradiction(flow: Flow) -> tuple[str, str, str] | None:
    """Two of these parts that cannot be combined, and why."""
    its = {flow_name(of): part for of, part in parts().items() if of & flow} if flow & flow - 1 else {}
    for one, part in its.items():
        for other, its_other in its.items():
            why = part.not_with.get(other) or part.not_with.get(its_other.on)
            if part.alone and other not in (one, part.on):
                why = part.alone
            if other != one and why:
                return one, other, why
    return None
