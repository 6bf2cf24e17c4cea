"""Which keys of an ordering contradict each other: what cannot run, or says nothing. A wrong order is neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING

from kernels.tdx.rules import MOST_STEPS
from scenarios.busy import OF_FAULTS, in_force, said
from scenarios.wording import shown

if TYPE_CHECKING:
    from scenarios.models import Ordering

# Where a step that stands twice would do nothing, or could not be told from a mistake.
ONCE = ("gate_raise", "gate_lower", "remove", "wbinvd")
PARTS = ("request", "send", "wait")


def ordering_contradictions(o: Ordering) -> Iterator[tuple[str, str]]:
    """Each key that contradicts another, and how. The first one is reported."""
    yield from (("shootdown", text) for text in _of_steps(o.shootdown))
    yield from (("table", text) for text in _of_steps(o.table or ("remove",)))
    yield from (("undo", text) for text in _of_undo(o))
    taken = {step.split(" ")[1] for step in o.every_step + o.undo if " " in step}
    raised = "gate_raise" in o.every_step
    if raised and o.gate == "none":
        yield "gate", 'expected "counter" or "flag", as the shootdown has gate steps, found "none"'
    if o.gate != "none" and not raised:
        yield "gate", f'expected "none", as the shootdown has no gate steps, found "{o.gate}"'
    if o.serialized and "mmu_lock" in taken:
        yield "serialized", "expected false, as the shootdown takes mmu_lock by steps of its own, found true"
    yield from _of_kicks(o)
    yield from _of_busy(o)
    taken |= {"fault_lock"} if o.fault_lock != "none" else set()
    taken |= {"no_entry_lock"} if o.no_entry_lock else set()
    for lock, kind in o.locks:
        if kind != "rw" and lock not in (o.entry_lock, o.fault_lock):
            yield f"locks.{lock}", f"found {shown(kind)}, but no vCPU takes it, and steps say how they do"
        if "spin" in kind and f"lock {lock} read" in o.every_step + o.undo:
            yield f"locks.{lock}", f'found {shown(kind)}, but there is the step "lock {lock} read"'
        if lock == o.entry_lock and "irq" not in kind and "requests" not in o.entry:
            yield "entry", f'expected "requests", as {shown(lock)} is taken around the look at them, interrupts on'
    for lock in o.without.split("+") if o.without != "none" else ():
        if lock not in taken:
            yield "without", f"found {shown(lock)}, which the ordering does not take"
    if o.elide_flush and "protect" not in o.shootdown:
        yield "elide_flush", 'found true, but the shootdown has no step "protect", which finds whether to flush'
    if "gate" in o.entry and o.gate == "none":
        yield "entry", 'found "gate", but the ordering has no gate'
    if "gate" in o.entry and "requests" not in o.entry:
        yield "entry", 'expected "requests" beside "gate": the gate is waited for where a request is handled'
    if "flush" in o.every_step + o.undo and "requests" not in o.entry:
        yield "entry", 'expected "requests", as "flush" makes the request "tlb_flush" and nobody else handles it'
    if o.kick is not None and o.kick.request != "none" and "requests" not in o.entry:
        text = f'expected "requests", as the kick makes the request "{o.kick.request}" and nobody else handles it'
        yield "entry", text


def _of_busy(o: Ordering) -> Iterator[tuple[str, str]]:
    for key, seamcall, word in said(o):
        if seamcall in OF_FAULTS and word == "retry_without_vcpus":
            yield key, f"found {shown(word)}, but a fault is a vCPU's, and no vCPU keeps vCPUs out"
        if seamcall not in (*OF_FAULTS, *o.every_step):
            yield key, f'found {shown(word)}, but the shootdown has no step "{seamcall}"'
        if seamcall == "track" and o.track_busy != "spin":
            text = f"found {shown(word)} beside its shorthand, track_busy = {shown(o.track_busy)}; leave one out"
            yield key, text


def _of_steps(steps: Sequence[str]) -> Iterator[str]:
    for step in ONCE:
        if steps.count(step) > 1:
            yield f"expected each at most once, found {shown(step)} twice"
    if len(steps) > MOST_STEPS:
        yield f"expected at most {MOST_STEPS} steps, found {len(steps)}"
    behind_block = [*takewhile(lambda step: step != "block", reversed(steps))]
    if not {"remove", "unblock", "protect"} & {*steps}:
        yield 'expected the step "remove" once, found none: without it no page is ever given back'
    elif "block" in steps and "remove" not in steps and "unblock" not in behind_block:
        yield 'expected "unblock" or "remove" behind the last "block", found none: it would stay blocked'
    elif "wbinvd" in steps and "remove" not in steps:
        yield 'found "wbinvd" without "remove": the module writes back a page that no TD has'
    if ("gate_raise" in steps) != ("gate_lower" in steps):
        there, missing = ("gate_raise", "gate_lower") if "gate_raise" in steps else ("gate_lower", "gate_raise")
        yield f'expected "gate_raise" and "gate_lower" together, found "{there}" without "{missing}"'
    yield from out_of_turn(steps)
    yield from _of_locks(steps)


def _of_undo(o: Ordering) -> Iterator[str]:
    """What cannot take a BLOCK back, or never does."""
    if not o.undo:
        return
    of_zapper = [by_mode for seamcall, by_mode in in_force(o).items() if seamcall in o.every_step]
    if "block" not in o.every_step or not any("hand_up" in policy for its in of_zapper for policy in its.values()):
        yield 'found steps, but no BUSY of a zapper is handed up, as busy = { remove = "hand_up" } has it'
    if o.undo.count("unblock") != 1:
        yield f'expected the step "unblock" once, found it {o.undo.count("unblock")} times'
    for step in {*o.undo} - {"unblock", "track", "kick", "flush", *PARTS}:
        if " " not in step:
            yield f"found {shown(step)}, which takes nothing back"
    held = accumulate(step.startswith("lock ") - step.startswith("unlock ") for step in o.every_step)
    most = MOST_STEPS - 2 - max(held)  # beside a gate that is lowered, and the step at hand
    if len(o.undo) > most:
        yield f"expected at most {most} steps, found {len(o.undo)}"
    yield from out_of_turn(o.undo)
    yield from _of_locks(o.undo)


def out_of_turn(steps: Sequence[str]) -> Iterator[str]:
    """Parts of a kick that find nothing to do where they stand. One that is never sent, or never waited for, is wrong,
    and means something.
    """
    behind = ""
    for step in steps:
        if step == "send" and behind != "request":
            yield 'found "send" without "request" before it, which finds out who is inside: nobody would be sent an IPI'
        if step == "wait" and behind != "send":
            yield 'found "wait" without "send" before it: no IPI would be waited for'
        behind = step if step in PARTS else behind


def _of_locks(steps: Sequence[str]) -> Iterator[str]:
    """A lock that its holder would wait for, or that nobody has taken."""
    held: set[str] = set()
    for step in steps:
        what, *said = step.split(" ")
        for lock in said[:1]:
            if (what == "lock") == (lock in held):
                yield f"found {shown(step)} where it is {'held already' if lock in held else 'not held'}"
            held = held | {lock} if what == "lock" else held - {lock}
    for lock in sorted(held):
        yield f'found "lock {lock}" without "unlock {lock}" behind it: the next one would wait for ever'


def _of_kicks(o: Ordering) -> Iterator[tuple[str, str]]:
    steps = o.every_step + o.undo
    whole, parts = "kick" in steps, [step for step in steps if step in PARTS]
    if whole and parts:
        text = f'found "kick" beside its part "{parts[0]}"; write "request", "send", "wait" for a whole one'
        yield "shootdown", text
    if whole and o.kick is None:
        yield "kick", 'missing; the step "kick" needs a table such as { request = "none", wait = true }'
    if parts and o.kick is None:
        yield "kick", f'missing; the step "{parts[0]}" needs a table such as {{ request = "none" }}'
    if o.kick is None:
        return
    if not whole and not parts:
        yield "kick", 'found a table, but the shootdown has no step "kick"'
    if whole and o.kick.wait is None:
        yield "kick.wait", "missing; expected true or false"
    if parts and o.kick.wait is not None:
        yield "kick.wait", f'found {shown(o.kick.wait)}, but the kick stands in its parts: it waits where "wait" stands'
