"""`explore --dump`: the text of what is searched, which is what a proof rests on."""

import sys

from kernels.search.schedule import machines
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import flow_named
from scenarios.models import Scenario
from stress.commands import typed
from stress.errors import UsageFault
from stress.options import ExploreRequest
from stress.screen import write

# What a step machine depends on, and how loudly is said what goes wrong.
SAID = {"scenario", "settings", "dump", "quiet", "verbose", "no_color"}


def dump(request: ExploreRequest, scenario: Scenario) -> int:
    """Print the step machine of each kind of actor of this scenario, with its labels, and by which name its object code
    is kept: a digest of this text as compiled. Orderings and sizes are no part of it; it reads them. Returns 0. Raises
    UsageFault.
    """
    if given := typed(request, [name for name in ExploreRequest._fields if name not in SAID]):
        raise UsageFault(f"{given[0]}: means nothing beside --dump: a step machine is the same for all of these")
    protocol = protocol_of(flow_named(scenario.flow))
    for kind, made in zip(protocol.actors, machines(protocol), strict=True):
        machine = made.machine
        labels = (f"#   {label}  {site or 'starts'}" for label, site in enumerate(machine.sites))
        sizes = f"{len(machine.sites)} labels, {machine.registers} registers"
        said = f"# {kind.name}: {sizes}, compiled as {made.step.kept_as}"
        write(sys.stdout, "\n".join([said, *labels, "", machine.source, ""]))
    return 0
