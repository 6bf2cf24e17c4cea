"""Whole actors under random schedules: the compiled step machine against the generators, word by word."""

import random
from typing import NamedTuple

import numpy as np
import pytest

from kernels import layout
from kernels.language.entered import Entered, words_with_room
from kernels.language.machine import DONE
from kernels.layout import Actor, Layout
from kernels.search.schedule import interpreted_machines, machines
from kernels.tdx.counters import LEAVES, STATUS_COUNTS, STATUSES
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import FLOWS, Flow, Rules
from kernels.tdx.words import plan
from kernels.tests.orders import GOES_ON, SAFE, WRONG
from kernels.tests.reference import Reference

STEPS, SHOOTDOWNS = 4000, 50


class Both(NamedTuple):
    """One actor, as a generator over the first words and as a step machine over the second."""

    name: str
    reference: Reference
    entered: Entered
    me: Actor


def start(rules: Rules) -> tuple[Layout, np.ndarray, np.ndarray, list[Both]]:
    """Two vCPUs, two zappers, two pages, a TLB of one entry that they fight for; each actor before its first step.

    The step machines of the default flow are the compiled ones, those of the others are interpreted.
    """
    protocol = protocol_of(Flow(rules.flow))
    made = (machines if rules.flow == Flow.SHOOTDOWN else interpreted_machines)(protocol)
    sizes = {f"{kind.name}_registers": one.machine.registers for kind, one in zip(protocol.actors, made, strict=True)}
    lay = plan(2, 2, 2, 1, packed=True, flow=rules.flow, **sizes)
    ours, theirs = np.zeros(lay.total_words, np.int64), words_with_room(lay.total_words)
    for td in (ours, theirs):
        SHOOTDOWN.prepare(td, lay, rules, 1)
    kinds, actors = dict(zip(protocol.actors, made, strict=True)), []
    for name, kind, me in layout.actors(lay):
        kinds[kind].step(theirs, lay, rules, me, 0)
        actors.append(Both(name, Reference(protocol.actors[kind], ours, lay, rules, me), kinds[kind], me))
    return lay, ours, theirs, actors


def registers(actor: Both) -> list[int]:
    """The words that only the step machine has."""
    return [actor.me.pc, *range(actor.me.register, actor.me.register + actor.entered.machine.registers)]


ORDERS = {**SAFE, **WRONG}


def rules_of(name: str) -> Rules:
    """An order whose zappers go on after a refusal: they leak the page, or free it where the order says so."""
    rules = ORDERS[name]._replace(shootdowns=SHOOTDOWNS)
    return rules._replace(**GOES_ON) if rules.on_error == 0 else rules


@pytest.mark.parametrize("name", ORDERS)
def test_a_step_machine_and_the_generators_go_the_same_way_under_a_random_schedule(name):
    """State, outcome counts and flags of the pages, over 4,000 steps of a seeded schedule."""
    goes_the_same_way(rules_of(name), name)


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if flow != Flow.SHOOTDOWN])
def test_so_do_those_of_every_other_flow(flow):
    extra = {"batch": 2, "resched": 1, "shared_pages": 1}
    goes_the_same_way(rules_of("spec")._replace(flow=int(flow), **extra), flow.name)


def goes_the_same_way(rules: Rules, name: str) -> None:
    """A schedule seeded by this name; the words and what is counted agree after every step."""
    lay, ours, theirs, actors = start(rules)
    drawn = random.Random(name)
    own = {word for actor in actors for word in registers(actor)}
    state = [word for word in range(lay.state_words) if word not in own]

    for _ in range(STEPS):
        actor = drawn.choice([one for one in actors if not one.reference.done])
        count = actor.entered.choices(theirs, lay, rules, actor.me)
        chosen = drawn.randrange(count)
        site = actor.entered.machine.sites[int(theirs[actor.me.pc])]
        assert (actor.reference.site, actor.reference.choices) == (site, count)
        actor.reference.step(chosen)
        actor.entered.step(theirs, lay, rules, actor.me, chosen)
        assert (ours[state] == theirs[state]).all(), f"{actor.name} at {site}"

    for actor in actors:  # statuses are counted where the interpreted machines tell a story
        at = actor.me.tally + STATUS_COUNTS
        ours[at : at + LEAVES * STATUSES] = theirs[at : at + LEAVES * STATUSES] = 0
    assert (ours[lay.state_words :] == theirs[lay.state_words :]).all()
    assert [int(theirs[one.me.pc]) == DONE for one in actors] == [one.reference.done for one in actors]
