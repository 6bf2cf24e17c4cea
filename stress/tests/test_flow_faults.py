"""A fault for which nothing looks is refused: it would be taken for harmless."""

import pytest

from kernels.flows import faults_of
from kernels.rules import Fault, Flow
from scenarios.faults import faults
from scenarios.loader import load_orderings, load_scenario, with_faults
from stress.errors import UsageFault
from stress.flow_faults import check_faults


def test_a_fault_that_a_flow_does_not_know_is_refused_with_those_that_do() -> None:
    populate, broken = load_scenario("populate"), with_faults(load_orderings(["spec"]), ["lost_kick"])

    with pytest.raises(UsageFault) as error:
        check_faults(populate, broken)

    said = 'fault "lost_kick": changes nothing in flow "populate"; it does in "shootdown", "batch", "shared_ept"'
    assert str(error.value) == said


def test_a_fault_that_a_flow_knows_is_taken() -> None:
    check_faults(load_scenario("populate"), with_faults(load_orderings(["spec"]), ["populate_unfrozen"]))


def test_every_fault_has_a_step_in_the_flow_that_shows_it() -> None:
    for name, shown in faults().items():
        flow = Flow[load_scenario(shown.scenario).flow.upper()]
        assert {Fault[fault.upper()] for fault in (name, *shown.beside)} <= faults_of(flow), name


def test_no_flow_knows_them_all() -> None:
    assert all(0 < len(faults_of(flow)) < len(Fault) for flow in Flow)
