"""What a race has built in around the steps of a straight line, and functions of steps compiled for it.

A labelled function stores, before each step, the step's site and word into its actor's LABEL word: a watchdog and a
trace know who stands where. A SEAMCALL keeps which module locks it holds, and counts those that it does not get
(`kernels/race/lock_contention.py`). A perturbed line looks before each step whether the actor is held up, a traced one
keeps the step in its ring behind it.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernels.language import atomics
from kernels.language.jit import runnable
from kernels.language.straight import Line, Names, Weave, answers, subs
from kernels.language.straight import straight_source as source_with
from kernels.language.syntax import ENVIRONMENT, Step, Steps
from kernels.layout import LABEL, RNG, Layout, ModuleLock
from kernels.race import tally
from kernels.race.lock_contention import (
    BY_FIELD,
    TRIES_OF_ENTRY,
    behind_a_try,
    behind_an_unlock,
    contended,
    leaf_text,
)
from kernels.race.ring import SITE_BITS
from kernels.race.trace import BESIDE, UNTRACED, keep
from kernels.race.variant import BARE, Variant
from kernels.tdx.module.locks import try_lock_exclusive, try_lock_shared, unlock_entry, unlock_exclusive, unlock_shared
from kernels.tdx.rules import Rules

RECORDS = {"lay": Layout._fields, "rules": Rules._fields}


def straight_source(function: Steps, names: Names, variant: Variant = BARE) -> str:
    """Source of one function of steps as a race runs it; see `kernels/language/straight.py`."""
    return source_with(function, names, Woven(variant))


def straight(function: Steps, variant: Variant = BARE) -> Any:
    """The function of steps as a jitted `run(words, lay, rules, me)` without the GIL, `words` an array; cached on disk.

    Everything is inlined: calls with their spills cost a shootdown a fifth of its time.
    """
    names = Names()
    called = [one for one in subs(function) if one is function or not one.in_place]
    source = "\n\n\n".join(straight_source(one, names, variant) for one in called)
    extra = {"own": atomics.own, "set_own": atomics.set_own, "xorshift": tally.xorshift, "perturb": tally.perturb}
    values = {**names.values, **extra, "RNG": RNG, "LABEL": LABEL}
    return runnable(f"straight{variant.suffix}_{function.name}", source, function.name, values, RECORDS)


def alone(function: Any) -> Any:
    """A function of the harness as a jitted `run(words, lay, rules, me)` like that of `straight`; cached on disk."""
    return runnable(function.__name__, "", function.__name__, {function.__name__: function}, RECORDS)


@dataclass(frozen=True, slots=True)
class Woven(Weave):
    """Labels, module locks and, by the variant, delays and a trace."""

    variant: Variant

    def step(self, line: Line, step: Step, arguments: Sequence[str], into: str | None) -> list[str]:
        """A labelled step, and what stands around it."""
        name = ast.unparse(step.call.func)
        target, rest = f"{into} = " if into else "", ", ".join(("td", "_word", *arguments[2:]))
        at = f"set_own(td, me.tally + LABEL, _word << {SITE_BITS} | {step.site.number})"
        perturb = [f"perturb(td, lay.perturb + {step.site.number}, me.tally)"] if self.variant.perturbed else []
        before = [f"_word = {arguments[1]}", at, *perturb]
        behind = [*_lock_tried(line, step, str(into)), *_lock_let_go(line, step)]
        if not self.variant.traced or line.function in UNTRACED:
            return [*before, f"{target}{name}({rest})", *behind]
        label = f"_word << {SITE_BITS} | {step.site.number}"
        # Before the step, which may change what it is computed from.
        before.insert(0, f"_operand = {arguments[-1] if arguments[2:] else 0}")
        if not answers(line.names.values[name]):
            return [*before, f"{name}({rest})", line.call_of(keep, label, "_operand", "_operand"), *behind]
        seen = into or "_seen"
        return [*before, f"{seen} = {name}({rest})", line.call_of(keep, label, f"int({seen})", "_operand"), *behind]

    def behind(self, line: Line, function: Steps, target: str | None, arguments: tuple[ast.expr, ...]) -> list[str]:
        """What a SEAMCALL keeps behind a try of an S-EPT entry's lock."""
        if leaf_text(line.function) is None or function.name not in TRIES_OF_ENTRY:
            return []
        word = f"(lay.sept + ({line.text(arguments[0])}) * lay.page_stride)"
        return _tried(line, ModuleLock.ENTRY, True, word, TRIES_OF_ENTRY[function.name].format(target))

    def beside(self, line: Line, call: ast.expr) -> list[str]:
        """What a traced line keeps of a call that is no step."""
        if not (self.variant.traced and isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            return []
        keeper = BESIDE.get(line.function.source.__globals__.get(call.func.id))  # type: ignore[attr-defined]
        if keeper is None:
            return []
        arguments = [line.text(argument) for argument in call.args if ast.unparse(argument) not in ENVIRONMENT]
        return [line.call_of(keeper, *arguments)]


def _lock_tried(line: Line, step: Step, got: str) -> list[str]:
    """What a SEAMCALL keeps behind a try of the epoch's or the tree's lock."""
    op = line.names.values[ast.unparse(step.call.func)]
    if leaf_text(line.function) is None or op not in (try_lock_exclusive, try_lock_shared):
        return []
    lock = _lock(step)
    return [] if lock is None else _tried(line, lock, op is try_lock_exclusive, "_word", got)


def _tried(line: Line, lock: ModuleLock, exclusive: bool, word: str, got: str) -> list[str]:
    leaf = leaf_text(line.function)
    assert leaf is not None
    line.names.add("contended", contended)
    return behind_a_try(lock, leaf, exclusive, word, got)


def _lock_let_go(line: Line, step: Step) -> list[str]:
    """What is kept behind the release of a module lock, in a TD exit as well: an entry may leave it one."""
    op = line.names.values[ast.unparse(step.call.func)]
    if op is unlock_entry:
        return behind_an_unlock(ModuleLock.ENTRY)
    lock = _lock(step) if op in (unlock_exclusive, unlock_shared) else None
    return [] if lock is None else behind_an_unlock(lock)


def _lock(step: Step) -> ModuleLock | None:
    """The module lock that a step tries or releases; None of a lock that is KVM's."""
    field = step.call.args[1]
    return BY_FIELD.get(field.attr) if isinstance(field, ast.Attribute) else None
