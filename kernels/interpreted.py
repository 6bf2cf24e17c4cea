"""The step machines run by Python: nothing is compiled, and whoever watches learns which word a step touches.

Some tens of microseconds a step, ready in a fraction of a second: for one schedule, told step by step. Statuses of
SEAMCALLs and TDCALLs are counted here as in a race, so that the tally says in which status a step ended.
"""

import functools
from collections.abc import Callable
from types import CodeType
from typing import Any

from kernels import atomics
from kernels.language import Steps
from kernels.machine import Machine, step_machine
from kernels.straight import Names
from kernels.tally import count_status
from kernels.vcpu import vcpu
from kernels.worlds import World
from kernels.zapper import zapper

Made = tuple[Machine, Any, Any]
KEPT = (count_status,)


def interpreted_machines(touched: list[int]) -> tuple[Made, Made]:
    """The step machines of a vCPU and of a zapper, as Python; every shared access appends its word to `touched`."""
    world = World(_watched(touched), lambda bound: bound)
    return _made(vcpu, world), _made(zapper, world)


def _watched(touched: list[int]) -> dict[str, Any]:
    def watch(access: Callable[..., Any]) -> Callable[..., Any]:
        def run(words: Any, index: int, *values: int) -> Any:
            touched.append(index)
            return access(words, index, *values)

        return run

    shared = {name: watch(access) for name, access in atomics.PYTHON.items() if name in atomics.SHARED_ACCESSES}
    return {**atomics.PYTHON, **shared}


@functools.cache
def _translated(function: Steps) -> tuple[Machine, CodeType, Names]:
    names = Names()
    made = step_machine(function, names, KEPT)
    return made, compile(made.source, f"<step machine of {function.name}>", "exec"), names


def _made(function: Steps, world: World) -> Made:
    made, code, names = _translated(function)
    values = {**names.values, "own": atomics.own, "set_own": atomics.set_own}
    space = {name: world.resolve(value) for name, value in values.items()}
    exec(code, space)
    return made, space[f"{made.name}_step"], space[f"{made.name}_choices"]
