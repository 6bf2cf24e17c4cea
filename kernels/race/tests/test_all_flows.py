"""Straight lines of every flow and variant that takes long to compile and is raced by other tests.

Compiled here, early, by whichever worker has no races: their one worker finds them kept.
"""

import numpy as np
import pytest

from kernels.layout import FINISHED, STOP_ENDING, STOP_ENDLESS
from kernels.race.lines import load
from kernels.race.straight import BARE, Variant
from kernels.tdx.counters import READS, SHOOTDOWNS
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import Flow, Rules
from kernels.tdx.words import plan, vcpu_actor, zapper_actor

RACED = (
    *((Flow.SHOOTDOWN, Variant(perturbed=True, traced=True)), (Flow.SHARED_EPT, BARE), (Flow.BATCH, BARE)),
    *((Flow.POPULATE, BARE), (Flow.SEPT_PAGES, BARE), (Flow.TEARDOWN, BARE), (Flow.ZERO_STEP, BARE)),
    (Flow.FLUSH_CURRENT, BARE),
    (Flow.BUILD, BARE),
)


@pytest.mark.parametrize(("flow", "variant"), RACED)
def test_actors_that_are_stopped_before_they_start_end_at_once(flow, variant):
    kernels = load(protocol_of(flow), variant)
    lay = plan(1, 1, 1, 1, flow=flow, lps=1, trace=2 * variant.traced)
    words = np.zeros(lay.total_words, np.int64)
    rules = Rules(*([0] * len(Rules._fields)))._replace(flow=flow)
    SHOOTDOWN.prepare(words, lay, rules, 1)
    words[lay.control + STOP_ENDING] = words[lay.control + STOP_ENDLESS] = 1
    vcpu, zapper = vcpu_actor(lay, 0), zapper_actor(lay, 0)

    assert (kernels["zapper"](words, lay, rules, zapper), kernels["vcpu"](words, lay, rules, vcpu)) == (0, 0)
    assert [int(words[actor.tally + FINISHED]) for actor in (vcpu, zapper)] == [1, 1]
    assert (words[vcpu.tally + READS], words[zapper.tally + SHOOTDOWNS]) == (0, 0)
