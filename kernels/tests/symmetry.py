"""Actors that are alike, renamed in a state of the step machine: by hand, word by word, from what each word means.

A vCPU's index stands in who its words are, in a zapper's `awaiting`, and in two locals of the kick. A zapper's stands
in who its words are, in every vCPU's `ipi` (a bit each), in the owner of a page that it has blocked, in its stage, and
in the locals that hold such a word.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from kernels.language.machine import DONE
from kernels.tdx.bits import TAG_BITS, TAG_MASK, Phase, phase_of, shooter_of
from kernels.tests.naive import StepMachine

Words = tuple[int, ...]
Order = tuple[int, ...]  # the new index of each old one

# By the name that a local has in the source. Whoever writes a local anew decides here what it is.
BITS_OF_VCPUS, INDEX_OF_VCPU, BITS_OF_ZAPPERS = {"visited"}, {"vcpu"}, {"mine"}
PAGE_WORDS, STAGE_WORDS = {"seen"}, {"how_far"}
WITHOUT_NAMES = {
    "_t1", "_t2", "_t3", "above", "again", "answer", "at", "blocked_in", "burst", "chosen", "dead", "ended",
    "entry", "epoch", "epochs", "failed", "first", "found", "gpa", "held", "here", "last", "later", "leaf",
    "leaves", "left", "made", "node", "otherwise", "outcome", "page", "parity", "parts", "place", "policy", "repair",
    "request", "result", "spte", "state", "status", "table", "taken", "there", "todo", "visits", "wait",
    "went", "what", "why", "without_vcpus", "writes",
}  # fmt: skip


def bits(word: int, order: Order) -> int:
    """The set of the new indices."""
    return sum(1 << new for old, new in enumerate(order) if word >> old & 1)


def page(word: int, zappers: Order) -> int:
    """The oracle's word of a page."""
    if phase_of(word) != Phase.BLOCKED:
        return word
    return word & ~(63 << 2) | zappers[shooter_of(word)] << 2


def stage(word: int, zappers: Order) -> int:
    """A zapper's word: how far the shootdown of the page that it names has come."""
    tag, how_far = word >> 2 & TAG_MASK, word & 3
    return (page(word >> 2 >> TAG_BITS, zappers) << TAG_BITS | tag) << 2 | how_far


def local(name: str, word: int, vcpus: Order, zappers: Order) -> int:
    """A register that holds this local. Raises LookupError for a local that this file says nothing of."""
    meaning: tuple[tuple[set[str], Callable[[], int]], ...] = (
        (BITS_OF_VCPUS, lambda: bits(word, vcpus)),
        (INDEX_OF_VCPU, lambda: vcpus[word]),
        (BITS_OF_ZAPPERS, lambda: bits(word, zappers)),
        (PAGE_WORDS, lambda: page(word, zappers)),
        (STAGE_WORDS, lambda: stage(word, zappers)),
        (WITHOUT_NAMES, lambda: word),
    )
    for names, renamed in meaning:
        if name in names:
            return renamed()
    raise LookupError(f"the local {name}: expected a word on what renaming actors does to it, found none")


def renamed(machine: StepMachine, state: Words, vcpus: Order, zappers: Order) -> Words:
    """The state in which every actor bears its new name."""
    lay, words = machine.lay, list(state)
    for gpa in range(lay.pages + lay.tables):
        at = lay.owner + gpa * lay.page_stride
        words[at] = page(words[at], zappers)
    for kind, order, first, stride in (
        ("vcpu", vcpus, lay.mode, lay.vcpu_stride),
        ("zapper", zappers, lay.stage, lay.zapper_stride),
    ):
        for old, new in enumerate(order):
            start, to = first + old * stride, first + new * stride
            block = state[start : start + stride]
            words[to : to + stride] = _block_renamed(machine, f"{kind} {old}", start, block, vcpus, zappers)
    return tuple(words)


@functools.lru_cache(maxsize=1 << 16)
def _block_renamed(machine: StepMachine, name: str, start: int, block: Words, vcpus: Order, zappers: Order) -> Words:
    """The words that belong to one actor; most states of a machine share them with many others."""
    lay, words = machine.lay, list(block)
    actor, kind = machine.actors[name]
    label = block[actor.pc - start]
    held: Iterable[Any] = kind.machine.held[label] if label != DONE else ()
    for at, of in enumerate(held, actor.register - start):
        if of is not None:
            words[at] = local(of.rpartition("_")[0], block[at], vcpus, zappers)
    if name.startswith("vcpu"):
        words[lay.ipi - lay.mode] = bits(words[lay.ipi - lay.mode], zappers)
    else:
        words[0] = stage(words[0], zappers)
        for vcpu, mark in zip(vcpus, words[1 : 1 + lay.vcpus], strict=True):
            words[1 + vcpu] = mark
    return tuple(words)


def orders(machine: StepMachine) -> list[tuple[Order, Order]]:
    """Every way to rename vCPUs among themselves and zappers among themselves; the first changes nothing."""
    vcpus = itertools.permutations(range(machine.lay.vcpus))
    return list(itertools.product(vcpus, itertools.permutations(range(machine.lay.zappers))))


def representative(machine: StepMachine, state: Words) -> Words:
    """One state for all that differ in names only."""
    return min(state, *(renamed(machine, state, *order) for order in orders(machine)[1:]))
