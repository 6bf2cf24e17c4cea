"""The faults: what each breaks, in which source, and an ordering under which that shows.

`faults/module.toml` has those of the module, `faults/kvm.toml` those of KVM. Most of the module's show only where the
kernel is wrong too, most of KVM's only in an order that relies on what they break; `explore --matrix` has every pair.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from scenarios.fields import STRICT, Faults, Settings, a_forbidden_outcome, one_of
from scenarios.files import HERE, toml_table
from scenarios.loader import apply_settings, load_ordering, load_scenario
from scenarios.models import Ordering, Scenario
from scenarios.validation import validated

BROKEN = ("module", "kvm")
# The default flow's machines for `explore`: vCPUs, zappers, shootdowns of each, a page to each zapper.
SMALL = ((1, 1, 1), (2, 1, 1), (1, 2, 1))
LARGE = (*SMALL, (2, 1, 2), (1, 2, 2))
DEFAULT = "wrong"
SMALLEST = ("vcpus=1", "zappers=1", "pages=1", "tlb_entries=1", "shootdowns=1")


class Shown(BaseModel):
    """A fault in words, the source that it breaks, and an ordering with the forbidden outcome that it adds to it.

    `breaks` is whose fault it is. `beside` are faults without which a right kernel or module hides it. `set` are
    settings of the scenario and of the ordering, as `--set` takes them, `explore` more of them on the smallest machine
    of the scenario's flow (none are needed where machines that grow are tried), `race` more in a race. `yields` and
    `delays`: where an actor has to lose its CPU or to be held up for a race to see it soon, in place of where the
    scenario does; neither: as in the scenario.
    """

    model_config = STRICT

    name: str
    breaks: Annotated[str, one_of("side", BROKEN)]
    title: str
    source: str
    scenario: str = DEFAULT
    beside: Faults = ()
    ordering: str
    shows: Annotated[str, AfterValidator(a_forbidden_outcome)] = Field(description="a forbidden outcome")
    set: Settings = ()
    explore: Settings = ()
    race: Settings = ()
    yields: dict[str, float] | None = Field(default=None, description="a table of probabilities by label")
    delays: dict[str, str] = Field(default_factory=dict, description="a table of delays by label")

    @property
    def faults(self) -> tuple[str, ...]:
        """All that are on where it shows."""
        return (self.name, *self.beside)

    @property
    def flow(self) -> str:
        """The flow whose actors it breaks."""
        return load_scenario(self.scenario).flow


@functools.cache
def faults() -> dict[str, Shown]:
    """Every fault by its name, those of the module first. Raises ScenarioError where a file does not hold."""
    found = {}
    for side in BROKEN:
        path = HERE / "faults" / f"{side}.toml"
        for name, table in toml_table(path, f"scenarios/faults/{path.name}").items():
            where = f"scenarios/faults/{path.name}: {name}"
            found[name] = validated(Shown, where, name, {"breaks": side, **table})
    return found


def to_race(shown: Shown) -> tuple[Scenario, Ordering]:
    """The machine that races, and the ordering under which the fault shows: known for that, named after the fault.

    A race goes on after an error: a second, complete shootdown clears the way. Raises ScenarioError.
    """
    return _set(shown, (*shown.race, *_perturbed(shown)))


def to_explore(shown: Shown) -> tuple[list[Scenario], Ordering]:
    """Machines to explore, in turn until the fault shows, and the ordering. Raises ScenarioError."""
    if shown.scenario == DEFAULT and not shown.explore:
        sizes: list[tuple[str, ...]] = [
            (f"vcpus={v}", f"zappers={z}", f"pages={z}", f"shootdowns={s}") for v, z, s in LARGE
        ]
    else:
        sizes = [shown.explore]
    made = [_set(shown, (*SMALLEST, *size)) for size in sizes]
    return [scenario for scenario, _ in made], made[0][1]


def _set(shown: Shown, settings: Sequence[str]) -> tuple[Scenario, Ordering]:
    ordering = load_ordering(shown.ordering).model_copy(
        update={
            "name": shown.name,
            "title": shown.title,
            "source": shown.source,
            "faults": shown.faults,
            "on_error": "leak_page",
            "expect": (shown.shows,),
        }
    )
    scenario, (ordering,) = apply_settings(load_scenario(shown.scenario), [ordering], (*shown.set, *settings))
    return scenario, ordering


def _perturbed(shown: Shown) -> Iterator[str]:
    """What is done to actors on purpose, as settings; in place of what the scenario does."""
    if shown.yields is None and not shown.delays:
        return
    yield from ("yields={}", "delays={}")
    yield from (f"yields.{label}={odds}" for label, odds in (shown.yields or {}).items())
    yield from (f"delays.{label}={delay}" for label, delay in shown.delays.items())
