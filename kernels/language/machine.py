"""The step machine: functions of steps as one function that takes one step of one actor.

Subprograms are inlined and control flow is cut at the yields. What lives across a yield stands in register words of the
state, shared between locals that are never alive together; dead ones are zeroed, or equal states would differ. A step
writes those that it changes. Code behind a branch that meets again has a place of its own, so nothing is copied into
each path.

A label is a number: 0 before the first step, then one for each yield of the inlined source, and -1 when the actor has
returned. `step` takes the step of the label and the private work up to the next label; it returns 0 where the actor has
returned, -1 where no shared word was touched (a choice, the start), else the index of the word and 1.
"""

import ast
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kernels.language.inline import Block, BlockStep, Inliner, names_in
from kernels.language.resolve import Names
from kernels.language.syntax import CHOICE_COUNTS, CHOICE_WAYS, ENVIRONMENT, Naming, Site, Steps

DONE = -1


@dataclass(frozen=True, slots=True)
class Machine:
    """The source of a step machine: `<name>_step(td, lay, rules, me, chosen)` and `<name>_choices(td, lay, rules,
    me)`.
    """

    name: str
    source: str
    sites: tuple[Site | None, ...]  # by label
    registers: int
    held: tuple[tuple[str | None, ...], ...]  # by label: the local in each register
    naming: Mapping[str, Naming]  # whom such a local names, where it does
    calls: tuple[tuple[str, ...], ...]  # by label: the functions of steps that lead there, outermost first
    given: tuple[tuple[Mapping[str, str], ...], ...]  # by label: of each of these its parameters, as locals
    goals: tuple[bool, ...]  # by label: whether one of these is a goal
    follows: tuple[frozenset[int], ...]  # by label: those to which its step may lead


def step_machine(function: Steps, names: Names, kept: Container[Any] = ()) -> Machine:
    """Translate.

    `kept`: functions of the harness that are called all the same, where they stand alone.
    """
    inliner = Inliner(names, kept)
    return _Emitter(function.name, inliner.program(function), names).machine(inliner.naming)


def blocks_of(function: Steps, names: Names) -> list[Block]:
    """The graph that a step machine is made of, its first block first; `live` are the locals that are read later on."""
    made = _Emitter(function.name, Inliner(names).program(function), names)
    return sorted(made.blocks, key=lambda block: block is not made.start)


class _Emitter:
    """Blocks to source: dead work dropped, empty blocks skipped, liveness, registers, one place for each join."""

    def __init__(self, name: str, start: Block, names: Names) -> None:
        self.name, self.names = name, names
        self.start = start
        self.blocks = self.reachable()
        self.drop_unread()
        self.skip_empty()
        self.blocks = self.reachable()
        alive = self.alive()
        for block in self.blocks:
            block.live = alive[block.number]
        self.labels = {self.start.number: 0}
        for block in self.blocks:
            if block.step:
                self.labels[block.number] = len(self.labels)
        before: dict[int, int] = {}
        for block in self.blocks:
            for after in block.next():
                before[after.number] = before.get(after.number, 0) + 1
        self.ends = {block.number for block in self.blocks if not block.next()}
        joins = [
            b
            for b in self.forwards()
            if before.get(b.number, 0) > 1 and b.number not in self.labels and b.number not in self.ends
        ]
        self.joins = {block.number: len(self.labels) + place for place, block in enumerate(joins)}
        self.registers = self.colour()
        self.count = max(self.registers.values(), default=-1) + 1
        self.written = self.writes(self.standing())
        self.wanted = self.alive(at_once=True)

    def reachable(self) -> list[Block]:
        found: dict[int, Block] = {}
        waiting = [self.start]
        while waiting:
            block = waiting.pop()
            if block.number not in found:
                found[block.number] = block
                waiting += reversed(block.next())
        return sorted(found.values(), key=lambda block: block.number)

    def forwards(self) -> list[Block]:
        """Every block behind one that leads to it, but for the way back in a loop: where a join reads a local, the text
        has assigned it further up, as the compiler wants to see.
        """
        left: list[Block] = []
        seen = {self.start.number}
        path = [(self.start, iter(self.start.next()))]
        while path:
            block, following = path[-1]
            after = next((one for one in following if one.number not in seen), None)
            if after is None:
                left.append(block)
                path.pop()
            else:
                seen.add(after.number)
                path.append((after, iter(after.next())))
        return left[::-1]

    def drop_unread(self) -> None:
        """Locals that only measurements read are not computed."""
        read: set[str] = set()
        for block in self.blocks:
            for tree in [*(block.step.arguments if block.step else ()), *([block.test] if block.test else ())]:
                read |= names_in(tree)
            for target, tree in block.work:
                if target is None:
                    read |= names_in(tree)
        grown = True
        while grown:
            grown = False
            for block in self.blocks:
                for target, tree in block.work:
                    if target in read and not names_in(tree) <= read:
                        read |= names_in(tree)
                        grown = True
        for block in self.blocks:
            block.work = [(target, tree) for target, tree in block.work if target is None or target in read]
            if block.step and block.step.target not in read:
                block.step.target = None

    def skip_empty(self) -> None:
        def past(block: Block | None) -> Block | None:
            seen = set()
            while (
                block
                and not block.step
                and not block.work
                and not block.test
                and block.then
                and block.number not in seen
            ):
                seen.add(block.number)
                block = block.then
            return block

        changed = True
        while changed:
            changed = False
            for block in self.blocks:
                then, other = past(block.then), past(block.other)
                if block.test is not None and then is other:
                    block.test, other = None, None
                    changed = True
                changed |= then is not block.then
                block.then, block.other = then, other

    def alive(self, *, at_once: bool = False) -> dict[int, set[str]]:
        """By block, the locals that are read from its head on; `at_once`, those that its step does until it ends, to
        write them into a register, too.
        """
        found: dict[int, set[str]] = {}
        its = []
        for block in self.blocks:
            read, changed = reads_and_changes(block)
            next_ = [one.number for one in block.next()]
            if at_once:
                read |= {name for to in next_ for name in self.written[block.number, to].values() if name} - changed
                next_ = [to for to in next_ if to not in self.labels]
            its.append((block.number, next_, read, changed))
        grown = True
        while grown:
            grown = False
            for number, next_, read, changed in its[::-1]:
                live = read.union(*(found.get(to, set()) - changed for to in next_))
                if live != found.get(number):
                    found[number] = live
                    grown = True
        return found

    def colour(self) -> dict[str, int]:
        """A register for each local that is alive at a label, so that two alive at one label differ."""
        beside: dict[str, set[str]] = {}
        for block in self.blocks:
            if block.number in self.labels:
                for name in block.live:
                    beside.setdefault(name, set()).update(block.live - {name})
        registers: dict[str, int] = {}
        for name in sorted(beside, key=lambda n: (-len(beside[n]), n)):
            taken = {registers[other] for other in beside[name] if other in registers}
            registers[name] = next(place for place in range(len(taken) + 1) if place not in taken)
        return registers

    def standing(self) -> dict[int, dict[int, str | None]]:
        """By block, what registers hold at its head, the local or None for 0: at a label each of them, elsewhere what
        stands there on one of the ways that lead there, and the others write it.
        """
        held: dict[int, dict[int, list[str]]] = {block.number: {} for block in self.blocks}
        for block in self.blocks:
            for name in block.live & self.registers.keys():
                held[block.number].setdefault(self.registers[name], []).append(name)
        every = range(self.count)
        begun: dict[int, dict[int, str | None]] = {
            it: {at: next(iter(held[it].get(at, ())), None) for at in every} if it in self.labels else {} for it in held
        }
        grown = True
        while grown:
            grown = False
            for block in self.blocks:
                _, changed = reads_and_changes(block)
                for after in block.next():
                    known, holds = begun[after.number], held[after.number]
                    for at, one in begun[block.number].items():
                        if at not in known and one not in changed and holds.get(at, []) == ([one] if one else []):
                            known[at] = one
                            grown = True
        return begun

    def writes(self, stand: Mapping[int, Mapping[int, str | None]]) -> dict[tuple[int, int], dict[int, str | None]]:
        """By a block and where control goes on from there, DONE for the end: by register the local that is written
        then, None for 0.
        """
        found = {}
        for block in self.blocks:
            _, changed = reads_and_changes(block)
            there = {at: name for at, name in stand[block.number].items() if name not in changed}
            meant = {to.number: stand[to.number] for to in block.next()} or {DONE: dict.fromkeys(range(self.count))}
            for to, its in meant.items():
                found[block.number, to] = {at: it for at, it in its.items() if at not in there or there[at] != it}
        return found

    def machine(self, naming: Mapping[str, Naming]) -> Machine:
        by_label = sorted(
            (block for block in self.blocks if block.number in self.labels), key=lambda b: self.labels[b.number]
        )
        lines = [f"def {self.name}_step(td, lay, rules, me, chosen):", "    _at = own(td, me.pc)"]
        lines += ["    _word = -2", "    while True:"]
        word = "if"
        blocks = {block.number: block for block in self.blocks}
        for block in [*by_label, *map(blocks.__getitem__, self.joins)]:
            number = self.labels.get(block.number, self.joins.get(block.number))
            lines.append(f"        {word} _at == {number}:")
            word = "elif"
            if block.number in self.labels:
                used = sorted(self.wanted[block.number], key=lambda n: self.registers[n])
                lines += [f"            {n} = own(td, me.register + {self.registers[n]})" for n in used]
            lines += self.code(block, 3)
        lines += ["        else:", "            return 0"]
        ways = [f"def {self.name}_choices(td, lay, rules, me):", "    _at = own(td, me.pc)"]
        for block in by_label:
            if block.step and block.step.is_choice:
                counter = CHOICE_COUNTS[self.names.values[block.step.call]]
                self.names.add(counter.__name__, counter)
                arguments = block.step.arguments[4:]
                used = sorted(set().union(*map(names_in, arguments))) if arguments else []
                ways.append(f"    if _at == {self.labels[block.number]}:")
                ways += [f"        {n} = own(td, me.register + {self.registers[n]})" for n in used]
                given = ", ".join((*ENVIRONMENT, *map(ast.unparse, arguments)))
                ways.append(f"        return {counter.__name__}({given})")
        ways.append("    return 1")
        held = tuple(
            tuple(next((n for n in block.live if self.registers[n] == place), None) for place in range(self.count))
            for block in by_label
        )
        sites = tuple(block.step.site if block.step else None for block in by_label)
        calls = tuple(block.step.calls if block.step else () for block in by_label)
        named = tuple(tuple(one.name for one in functions) for functions in calls)
        passed = tuple(block.step.given if block.step else () for block in by_label)
        told = tuple(tuple({name: ast.unparse(it) for name, it in one.items()} for one in its) for its in passed)
        goals = tuple(any(one.goal for one in functions) for functions in calls)
        follows = tuple(frozenset(self.labels_behind(block)) for block in by_label)
        source = "\n".join([*lines, "", "", *ways])
        return Machine(self.name, source, sites, self.count, held, naming, named, told, goals, follows)

    def labels_behind(self, block: Block) -> Iterator[int]:
        """The labels at which a step taken in this block may end."""
        seen: set[int] = set()
        waiting = block.next()
        if not waiting:
            yield DONE
        while waiting:
            one = waiting.pop()
            if one.number in seen:
                continue
            seen.add(one.number)
            if one.number in self.labels:
                yield self.labels[one.number]
            elif one.next():
                waiting += one.next()
            else:
                yield DONE

    def code(self, block: Block, depth: int) -> list[str]:
        """The block's own code and, nested, that of the blocks which only it leads to."""
        pad = "    " * depth
        lines = []
        if block.step:
            step = block.step
            target = f"{step.target} = " if step.target else ""
            given = [*map(ast.unparse, step.arguments)]
            if step.is_choice:
                lines += [f"{pad}{target}{self.way(step, given)}"] if step.target else []
            else:
                lines.append(f"{pad}_word = {given[1]}")
                lines.append(f"{pad}{target}{step.call}({', '.join((given[0], '_word', *given[2:]))})")
        for name, tree in block.work:
            lines.append(f"{pad}{name} = {ast.unparse(tree)}" if name else pad + ast.unparse(tree))
        if block.test is not None:
            assert block.then is not None and block.other is not None
            lines += [f"{pad}if {ast.unparse(block.test)}:", *self.go(block, block.then, depth + 1)]
            lines += [f"{pad}else:", *self.go(block, block.other, depth + 1)]
        else:
            lines += self.go(block, block.then, depth)
        return lines

    def way(self, step: BlockStep, given: list[str]) -> str:
        """The value of a choice that goes the way `chosen`."""
        made = CHOICE_WAYS.get(self.names.values[step.call])
        if made is None:
            return "chosen"
        self.names.add(made.__name__, made)
        return f"{made.__name__}({', '.join((*given[:4], 'chosen', *given[4:]))})"

    def go(self, block: Block, to: Block | None, depth: int) -> list[str]:
        """On from a block, or to the end."""
        pad = "    " * depth
        changed = self.written[block.number, to.number if to else DONE].items()
        lines = [f"{pad}set_own(td, me.register + {at}, {f'int({name})' if name else 0})" for at, name in changed]
        if to and to.number in self.joins:
            return [*lines, f"{pad}_at = {self.joins[to.number]}", f"{pad}continue"]
        if to and to.number not in self.labels:
            return lines + self.code(to, depth)
        return [*lines, f"{pad}set_own(td, me.pc, {self.labels[to.number] if to else DONE})", f"{pad}return _word + 1"]


def reads_and_changes(block: Block) -> tuple[set[str], set[str]]:
    """The locals that a block reads before it gives them a value, and those to which it gives one."""
    read = set(names_in(block.test)) if block.test is not None else set()
    changed: set[str] = set()
    heads = [(block.step.target, block.step.arguments)] if block.step else []
    for target, trees in [*((target, [tree]) for target, tree in block.work[::-1]), *heads]:
        if target:
            read.discard(target)
            changed.add(target)
        read.update(*map(names_in, trees))
    return read, changed
