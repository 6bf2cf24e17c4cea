"""Short real races between processes: the right orders show nothing forbidden and leave the machine as it was."""

import functools
import mmap
import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from kernels.layout import FINISHED, HIST_WORDS, OUTCOME_COUNTS, STOP_ENDING, STOP_ENDLESS, Actor, Layout
from kernels.race import lines as race
from kernels.race.clock import calibrate
from kernels.tdx.bits import STATE_MASK, Mirror, Mode, Sept, epoch_of, phase_of
from kernels.tdx.counters import (
    ENTRIES,
    EXITS,
    HEAD_WORDS,
    KICKS_MET,
    MET_OR_STALE,
    PHASES_EVERY,
    READS,
    SHOOTDOWNS,
    SHOOTDOWNS_MET,
    STATUS_COUNTS,
    STATUSES,
    VCPU_HISTS,
    ZAPPER_HISTS,
)
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.rules import UNLIMITED
from kernels.tdx.statuses import Leaf, Status
from kernels.tdx.words import plan, vcpu_actor, zapper_actor
from kernels.tests.orders import SAFE, WRONG

pytestmark = pytest.mark.processes

VCPUS, ZAPPERS, PAGES = 2, 2, 16
RACE_S, MOST_S = 0.3, 60.0
ALLOWED = {"fresh", "fault", "stale_in_window", "stale_after_kick", "operand_busy", "page_already_accepted"}


class Raced(NamedTuple):
    """What a race has left."""

    lay: Layout
    words: np.ndarray
    vcpus: list[Actor]
    zappers: list[Actor]

    def head(self, actor: Actor, counter: int) -> int:
        return int(self.words[actor.tally + counter])

    @property
    def met(self) -> int:
        """Shootdowns that met a vCPU, with those whose page has not been taken again."""
        flags = self.words[self.lay.page_flags : self.lay.page_flags + self.lay.pages]
        return sum(self.head(actor, SHOOTDOWNS_MET) for actor in self.zappers) + int((flags & MET_OR_STALE != 0).sum())

    def status(self, leaf: Leaf, status: Status) -> int:
        at = STATUS_COUNTS + leaf * STATUSES + status
        return sum(self.head(actor, at) for actor in (*self.vcpus, *self.zappers))

    def histogram(self, actor: Actor, place: int) -> int:
        start = actor.tally + HEAD_WORDS + place * HIST_WORDS
        return int(self.words[start : start + HIST_WORDS].sum())


def fork(run: Callable[[], object]) -> int:
    """A process that runs this and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def wait(pids: list[int], until: float) -> list[int]:
    """The exit codes of these processes; those that still run at `until` are killed."""
    codes: dict[int, int] = {}
    while len(codes) < len(pids):
        for pid in (pid for pid in pids if pid not in codes):
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                codes[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return [codes[pid] for pid in pids]


@functools.cache
def raced(name: str) -> Raced:
    """0.3 s of an order between two vCPUs and two zappers, which share all CPUs, or on a busy machine what
    it takes until each zapper's kick has met a vCPU; once a process.
    """
    kernels, clock = race.load(SHOOTDOWN), calibrate(0.02)
    rules = {**SAFE, **WRONG}[name]._replace(
        shootdowns=UNLIMITED,
        gap=500,
        tick=int(50e-6 * clock.ticks_per_s),
        shared_cpus=1,
        clock=int(clock.clock),
        ticks_to_ns=clock.ticks_to_ns,
    )
    lay = plan(VCPUS, ZAPPERS, PAGES, PAGES)
    words = np.frombuffer(mmap.mmap(-1, lay.total_words * 8), np.int64)
    SHOOTDOWN.prepare(words, lay, rules, 1)
    vcpus = [vcpu_actor(lay, index) for index in range(VCPUS)]
    zappers = [zapper_actor(lay, index) for index in range(ZAPPERS)]
    inside = [fork(functools.partial(kernels["vcpu"], words, lay, rules, actor)) for actor in vcpus]
    outside = [fork(functools.partial(kernels["zapper"], words, lay, rules, actor)) for actor in zappers]
    until = time.monotonic() + MOST_S
    time.sleep(RACE_S)
    seen = [one.tally + word for one in zappers for word in (KICKS_MET, FINISHED)]
    while time.monotonic() < until and not words[seen].reshape(ZAPPERS, 2).any(axis=1).all():
        time.sleep(RACE_S)
    words[lay.control + STOP_ENDING] = 1
    codes = wait(outside, time.monotonic() + MOST_S)
    words[lay.control + STOP_ENDLESS] = 1
    codes += wait(inside, time.monotonic() + MOST_S)
    assert codes == [0] * (VCPUS + ZAPPERS)
    return Raced(lay, words.copy(), vcpus, zappers)


def every(run: Raced, word: int, stride: int, count: int) -> list[int]:
    """A word of each page, vCPU or zapper."""
    return [int(run.words[word + index * stride]) for index in range(count)]


@pytest.fixture(params=["spec", "v18", "v6_16", "flag_gate"])
def run(request: pytest.FixtureRequest) -> Raced:
    return raced(request.param)


def test_no_forbidden_outcome_is_seen_while_everybody_works_to_the_end(run):
    """Chance is on neither side: a right order shows none, however the race goes. In 0.3 s each gets a CPU many times:
    some thousand shootdowns a zapper, some million reads a vCPU.
    """
    found = {o.name for o in Outcome for actor in (*run.vcpus, *run.zappers) if run.head(actor, OUTCOME_COUNTS + o)}

    assert found <= ALLOWED
    assert all(run.head(actor, SHOOTDOWNS) > 0 for actor in run.zappers)
    assert all(run.head(actor, READS) > 0 for actor in run.vcpus)
    assert [run.head(actor, FINISHED) for actor in (*run.vcpus, *run.zappers)] == [1, 1, 1, 1]


def test_the_machine_is_left_with_every_lock_free_every_vcpu_outside_and_every_page_in_use(run):
    lay = run.lay
    single = lay.epoch_lock, lay.tree_lock, lay.mmu_lock, lay.gate, lay.wait_for_sept_zap
    entries = every(run, lay.sept, lay.page_stride, PAGES)

    assert [int(run.words[at]) for at in single] == [0] * 5
    assert int(run.words[lay.epoch_tracking]) & ((1 << 24) - 1) == 0  # nobody is counted inside
    assert every(run, lay.mode, lay.vcpu_stride, VCPUS) == [Mode.OUTSIDE_GUEST_MODE] * VCPUS
    assert every(run, lay.ipi, lay.vcpu_stride, VCPUS) == [0] * VCPUS
    assert {entry & STATE_MASK for entry in entries} <= {Sept.MAPPED, Sept.PENDING}
    assert not any(entry & 1 << 11 for entry in entries)
    assert [phase_of(page) for page in every(run, lay.owner, lay.page_stride, PAGES)] == [0] * PAGES
    assert every(run, lay.mirror, lay.page_stride, PAGES) == [Mirror.PRESENT] * PAGES


def test_every_shootdown_put_one_new_page_in_place_took_one_epoch_and_each_call_once(run):
    """Generations begin at 1; the S-EPT entry points to the page that the oracle knows."""
    lay = run.lay
    owners = every(run, lay.owner, lay.page_stride, PAGES)
    entries = every(run, lay.sept, lay.page_stride, PAGES)
    shootdowns = sum(run.head(actor, SHOOTDOWNS) for actor in run.zappers)
    leaves = (Leaf.TDH_MEM_RANGE_BLOCK, Leaf.TDH_MEM_TRACK, Leaf.TDH_MEM_PAGE_REMOVE, Leaf.TDH_MEM_PAGE_AUG)

    assert sum((page >> 8) - 1 for page in owners) == shootdowns
    assert [(entry >> 12) & (1 << 40) - 1 for entry in entries] == [page >> 8 for page in owners]
    assert epoch_of(int(run.words[lay.epoch_tracking])) == 1 + shootdowns
    assert [run.status(leaf, Status.SUCCESS) for leaf in leaves] == [shootdowns] * 4


def test_every_entry_is_followed_by_an_exit_and_every_stay_outside_and_read_counted_once(run):
    """Faults are no reads; the outcomes of a read add up to all reads."""
    graded = ("fresh", "stale_in_window", "stale_after_kick", "stale_after_done", "use_after_remove")
    for actor in run.vcpus:
        entered = run.head(actor, STATUS_COUNTS + Leaf.TDH_VP_ENTER * STATUSES + Status.SUCCESS)

        assert run.head(actor, ENTRIES) == run.head(actor, EXITS) == entered
        assert run.histogram(actor, VCPU_HISTS.index("out_of_guest")) == run.head(actor, ENTRIES)
        assert sum(run.head(actor, OUTCOME_COUNTS + Outcome[name]) for name in graded) == run.head(actor, READS)


def test_histograms_hold_every_shootdown_once(run):
    """One shootdown of eight is stamped between its phases, the others from end to end; phases, and a latency of their
    own, have those whose kick met a vCPU.
    """
    met = 0
    for actor in run.zappers:
        shootdowns = run.head(actor, SHOOTDOWNS)
        stamped = -(-shootdowns // PHASES_EVERY)
        found = {name: run.histogram(actor, place) for place, name in enumerate(ZAPPER_HISTS)}

        phases = ("lock", "block", "kick_send", "kick_ack", "kick", "track", "remove", "stale_window")
        whole, phased = found["shootdown_met"], found["lock"]
        assert found == {
            **dict.fromkeys(phases, phased),
            "shootdown": shootdowns - stamped,
            "shootdown_met": whole,
            "response": 0,
        }
        assert whole <= shootdowns - stamped
        assert phased <= stamped
        met += whole + phased
    assert 0 < met <= run.met


def test_an_order_that_does_not_block_is_refused_in_a_race_too():
    """REMOVE of a page that was never blocked fails each time; the zapper then ends, as the VM would."""
    run = raced("no_block")

    assert run.status(Leaf.TDH_MEM_PAGE_REMOVE, Status.GPA_RANGE_NOT_BLOCKED) == ZAPPERS
    assert run.status(Leaf.TDH_MEM_PAGE_REMOVE, Status.SUCCESS) == 0
