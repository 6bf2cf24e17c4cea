"""Whether the faults that are asked for can do anything in a scenario's flow: one that cannot would look harmless."""

from collections.abc import Iterable

from scenarios.models import Ordering, Scenario
from stress.errors import UsageFault


def check_faults(scenario: Scenario, orderings: Iterable[Ordering]) -> None:
    """Raises UsageFault for a fault for which no step of the flow looks."""
    wanted = dict.fromkeys(fault for ordering in orderings for fault in ordering.faults)
    if not wanted:
        return
    from kernels.flows import faults_of
    from kernels.rules import Fault, Flow

    known = faults_of(Flow[scenario.flow.upper()])
    for fault in wanted:
        if Fault[fault.upper()] not in known:
            flows = [f'"{flow.name.lower()}"' for flow in Flow if Fault[fault.upper()] in faults_of(flow)]
            raise UsageFault(
                f'fault "{fault}": changes nothing in flow "{scenario.flow}"; it does in {", ".join(flows)}'
            )
