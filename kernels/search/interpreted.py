"""The step machines run by Python: nothing is compiled, so a single schedule is at its end in a fraction of a second.

What the harness counts for a story is counted here as in a race, so that the tally says in which status a step ended.
"""

import functools
from types import ModuleType

from kernels.language import atomics
from kernels.language.machine import Machine, step_machine
from kernels.language.straight import Names
from kernels.language.syntax import TOLD, Steps
from kernels.language.worlds import World
from kernels.protocol import Protocol

Made = tuple[Machine, ModuleType]


@functools.cache
def interpreted_machines(protocol: Protocol) -> tuple[Made, ...]:
    """The step machines of each kind of actor, as Python; to be given the layout and the rules themselves."""
    world = World(atomics.PYTHON, lambda bound: bound)
    return tuple(_made(function, world) for function in protocol.actors.values())


def _made(function: Steps, world: World) -> Made:
    names = Names()
    made = step_machine(function, names, TOLD)
    values = {**names.values, "own": atomics.own, "set_own": atomics.set_own}
    code = ModuleType(f"tdx_stress_interpreted_{made.name}")
    code.__dict__.update({name: world.resolve(value) for name, value in values.items()})
    exec(compile(made.source, f"<step machine of {made.name}>", "exec"), code.__dict__)
    code.__dict__.update(step=code.__dict__[f"{made.name}_step"], choices=code.__dict__[f"{made.name}_choices"])
    return made, code
