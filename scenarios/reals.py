"""A scenario of the kind `real` as a value, and the faults that can be planted into its host.

No ordering and no flow stands in it, as the order of steps is the kernel's own.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from kernels.tdx.rules import MAX_VCPUS
from scenarios.fields import STRICT, Duration, Lenient, one_of, up_to, whole
from scenarios.files import shipped, shipped_names, toml_table
from scenarios.settings import key_and_value
from scenarios.validation import validated
from scenarios.wording import ScenarioError, listed, unknown

FOLDER = "real"
MOST_PAGES = 16_384  # each is a mapping of its own, of which a process has 65,530
ARMS = ("memfd", "munmap", "mprotect", "kvm", "guest_memfd")


class RealFault(NamedTuple):
    """A mistake of the host's that the oracle must catch, and the outcome that it must show."""

    title: str
    source: str
    shows: str


REAL_FAULTS = {
    "published_early": RealFault(
        "the host says that the page is gone before its call: scenario real and its parts",
        "kernels/real/loops.py, too_early(); a tdx_track() that returns before the IPIs are acknowledged",
        "stale_after_done",
    ),
    "reused_early": RealFault(
        "the host gives the page to somebody else before its call: scenario real and its parts",
        "kernels/real/loops.py, too_early(); a page that is freed before its TLB entries are flushed",
        "use_after_remove",
    ),
}


class Real(BaseModel):
    """What is raced by itself: `arms` are ways to take a page away, raced in turn, each for `duration_s`. `vcpus` read,
    one zapper takes away, with `gap` pauses between two pages.
    """

    model_config = STRICT

    name: str
    title: str = ""
    source: str = ""
    arms: Annotated[tuple[Annotated[str, one_of("arm", ARMS)], ...], Lenient] = Field(
        min_length=1, description=f"a list of at least one arm ({listed(ARMS)})"
    )
    vcpus: Annotated[int, whole(1, MAX_VCPUS)] = 2
    pages: Annotated[int, whole(1, MOST_PAGES)] = 64
    gap: Annotated[int, whole(0, 1_000_000_000, "pauses")] = 2000
    duration_s: Annotated[Duration, up_to("168h")] = 5.0
    seed: Annotated[int, whole(0, (1 << 63) - 1)] = 1
    watchdog_s: Annotated[Duration, up_to("1h")] = 5.0
    faults: Annotated[tuple[Annotated[str, one_of("fault", tuple(REAL_FAULTS))], ...], Lenient] = Field(
        default=(), max_length=1, description=f"a list of one fault ({listed(REAL_FAULTS)}) or none"
    )


SET = tuple(key for key in Real.model_fields if key not in ("name", "title", "source", "arms", "faults"))


def is_real(name: str) -> bool:
    """Whether a shipped scenario of this kind has the name."""
    return name in shipped_names(FOLDER)


def load_real(name: str) -> Real:
    """The shipped one of this name. Raises ScenarioError where its file does not hold."""
    path = shipped(FOLDER, name)
    assert path is not None, name
    where = f"scenarios/{FOLDER}/{path.name}"
    return validated(Real, where, name, toml_table(path, where))


def shipped_reals() -> list[Real]:
    """Every scenario of this kind."""
    return [load_real(name) for name in shipped_names(FOLDER)]


def with_values(real: Real, settings: Sequence[str], faults: Sequence[str], **options: Any) -> Real:
    """The scenario with each `key=value`, with these faults, and with the options that are not None. Raises
    ScenarioError.
    """
    for setting in settings:
        key, value = key_and_value(setting)
        if key not in SET:
            raise ScenarioError(f"--set: {unknown(f'key of scenario {real.name}', key, SET)}")
        real = _with(real, "--set", {key: value})
    for key, value in options.items():
        if value is not None:
            real = _with(real, f"--{key.removesuffix('_s')}", {key: value}, bare=True)
    return _with(real, "--fault", {"faults": list(faults)}, bare=True) if faults else real


def _with(real: Real, where: str, values: dict[str, Any], *, bare: bool = False) -> Real:
    """With other values; `bare`: where the option says which key it is."""
    try:
        return validated(Real, "", real.name, {**real.model_dump(exclude={"name"}), **values})
    except ScenarioError as error:
        said = str(error).partition(": ")[2] if bare else str(error)
        raise ScenarioError(f"{where}: {said}") from None
