"""`explore --dump`: what is printed is what is compiled."""

import ast

from kernels.search.schedule import machines
from kernels.tdx.protocol import SHOOTDOWN
from stress.tests.command import Command


def test_what_is_printed_is_the_step_machines_with_their_labels_and_object_code(here: Command) -> None:
    done = here("explore", "--dump")

    functions = {one.name for one in ast.parse(done.stdout).body if isinstance(one, ast.FunctionDef)}
    assert done.returncode == 0
    assert {"vcpu_step", "vcpu_choices", "zapper_step", "zapper_choices"} <= functions
    for made in machines(SHOOTDOWN):
        assert made.machine.source in done.stdout
        assert f"compiled as {made.step.kept_as}\n#   0  starts\n#   1  {made.machine.sites[1]}\n" in done.stdout
