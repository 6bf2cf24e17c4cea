"""What was asked for and what it comes to: a scenario and its orderings; and whether that can do anything on this
machine, as a key or a fault that no step looks at seems harmless.

An ordering's file describes a kernel, so a key of it that only other flows look at may stand there. What is asked for
by `--set`, by `--sweep` or in a scenario of the user's own is for this machine, and so is a fault wherever it stands.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from kernels.race.ticks import NS_SHIFT, Clock
from kernels.tdx.part import has_tables
from kernels.tdx.rules import AT_ONCE, FLOWS, Fault, Flow, Rules, flow_name, flow_named, has_part
from scenarios.busy import SEAMCALLS, said
from scenarios.files import shipped
from scenarios.loader import (
    ORDERINGS,
    SCENARIOS,
    apply_settings,
    load_ordering,
    load_orderings,
    load_scenario,
    parse_duration,
    setting_key,
    shipped_orderings,
    with_delays,
    with_faults,
    with_options,
)
from scenarios.models import Ordering, Scenario
from scenarios.reals import REAL_FAULTS
from scenarios.rules import compile_rules
from scenarios.settings import changed
from scenarios.wording import ScenarioError, listed, shown
from stress.errors import UsageFault
from stress.options import BenchRequest, RunRequest

if TYPE_CHECKING:
    from kernels.tdx.reads import Reads

# Keys of a scenario with an option each, where the verb has it.
RACED = (
    *("vcpus", "zappers", "pages", "duration_s", "shootdowns", "warmup_s"),
    *("rate", "seed", "workers", "placement"),
)
# Every machine has the first two; faults are looked at one by one, and no step knows what is expected.
NOT_ASKED = ("flow", "shootdown", "faults", "expect", "yields", "delays", "costs")
# A word for several SEAMCALLs, or for both ways to hold mmu_lock: one that is looked at is enough.
FOR_SEVERAL = ("track_busy", "sept_busy", *(f"busy.{seamcall}" for seamcall in SEAMCALLS))


def example_of(flow: str) -> str:
    """The shipped scenario of a flow: of its name, or of its first part's."""
    return "small" if flow == "shootdown" else flow.partition("+")[0]


def resolve(request: RunRequest | BenchRequest) -> tuple[Scenario, list[Ordering]]:
    """The scenario with every option applied, and the orderings to race, in turn. Raises ScenarioError."""
    scenario = load_scenario(request.scenario)
    orderings = load_orderings(request.orderings or scenario.orderings)
    scenario, orderings = apply_settings(scenario, orderings, request.settings)
    scenario = with_delays(scenario, getattr(request, "delays", ()))
    typed = {key: getattr(request, key.removesuffix("_s"), None) for key in RACED}
    scenario = with_options(scenario, **typed)
    chosen = chosen_keys(request.scenario, request.settings)
    if typed["warmup_s"] is None and "warmup_s" not in chosen:  # a race of an instant has no long warm-up
        scenario = with_options(scenario, warmup_s=min(scenario.warmup_s, scenario.duration_s))
    faults = getattr(request, "faults", ())
    if of_real := [fault for fault in faults if fault in REAL_FAULTS]:
        raise UsageFault(
            f"--fault: {of_real[0]} breaks a real host, no model: `tdx-stress run memfd --fault {of_real[0]}`"
        )
    orderings = with_faults(orderings, faults)
    check_read(scenario, orderings, chosen)
    return scenario, orderings


def changes_of(
    request: Any, scenario: Scenario, orderings: Iterable[Ordering], only: Collection[str] = ()
) -> dict[str, Any]:
    """What options changed of the scenario, of these keys alone if any are given, and of each ordering by its name; and
    whether they are the user's own, not shipped.
    """
    before = load_scenario(request.scenario)
    texts = request.orderings or before.orderings
    as_in_file = {one.name: (one, not shipped(ORDERINGS, text)) for text in texts for one in [load_ordering(text)]}
    by_name = {}
    for ordering in orderings:
        old, own = as_in_file[ordering.name]
        by_name[ordering.name] = {"changed": changed(old, ordering), "own": own}
    of_scenario = {"changed": changed(before, scenario, only), "own": not shipped(SCENARIOS, request.scenario)}
    return {"scenario": of_scenario, "orderings": by_name}


def told_of(ordering: str, changed: Mapping[str, Any], but: Collection[str] = ()) -> dict[str, Any]:
    """What was changed of one of these orderings and of its machine, of all keys but these; and whether it is own."""
    its = changed["orderings"][ordering]
    both = its["changed"] | changed["scenario"]["changed"]
    return {"changed": {key: both[key] for key in both if key not in but}, "own": its["own"]}


def budget_seconds(text: str) -> float:
    """The seconds of `--budget`. Raises ScenarioError and UsageFault."""
    try:
        seconds = parse_duration(text)
    except ScenarioError as error:
        raise UsageFault(f"--budget: {error}") from None
    if seconds <= 0:
        raise UsageFault(f"--budget: expected a duration above 0, found {shown(text)}")
    return seconds


def chosen_keys(scenario: str, settings: Iterable[str]) -> dict[str, str]:
    """The keys that a user has chosen, each with where: in a scenario that is not shipped, or by `--set`."""
    in_file = {} if shipped(SCENARIOS, scenario) else dict.fromkeys(load_scenario(scenario).machine, scenario)
    return {**in_file, **{setting_key(setting): "--set" for setting in settings}}


def check_read(scenario: Scenario, orderings: Iterable[Ordering], keys: Mapping[str, str]) -> None:
    """Raises UsageFault for a key, or for a fault of an ordering, that no step looks at under one of the orderings.
    `keys`, with where each stands; one that is at its default changes nothing by right.
    """
    for ordering in orderings:
        for chosen, where in keys.items():
            for key in _entries(chosen, ordering):
                if fields := _fields(key, scenario, ordering):
                    looks = partial(_looks_at, fields, len(fields) if key not in FOR_SEVERAL else 1)
                    _check(f"{where}: {key}", scenario, ordering, keys, looks)
        if (
            scenario.kick_by == "membarrier"
            and ordering.kick is not None
            and _rules(scenario, ordering).wait != AT_ONCE
        ):
            said = f"waits until every CPU has answered, and the kick of {ordering.name} does not wait at once"
            raise UsageFault(f'kick_by: "membarrier" {said}; "word" and "signal" do not')
        for key, where in keys.items():
            cost = key.removeprefix("costs.") if key.startswith("costs.") else ""
            if cost in ("block", "track", "wbinvd") and cost not in ordering.every_step:
                raise UsageFault(f"{where}: {key}: {ordering.name} has no such step, it would change nothing")
        if ordering.part and not has_part(scenario.flow, flow_named(ordering.part)):
            said = f'found "protect" in the flow "{scenario.flow}", where no guest writes'
            raise UsageFault(f'{ordering.name}: shootdown: {said}; in flow "{ordering.part}" they do')
        of_kvm = scenario.module == "none" or scenario.has(Flow.SHARED_EPT)
        if scenario.has(Flow.WRITES) and not of_kvm and "wbinvd" not in ordering.shootdown:
            said = f'{ordering.name} has no step "wbinvd", and KVM no SPTE of its own, found {shown(scenario.module)}'
            raise UsageFault(f'module: expected "none", or flow = "writes+shared_ept", as {said}')
        if ordering.undo and scenario.has(Flow.SEPT_PAGES):
            said = f'found steps in the flow "{scenario.flow}", where UNBLOCK of a page-table page is not modelled'
            raise UsageFault(f"{ordering.name}: undo: {said}")
        if "unblock" in ordering.shootdown + ordering.undo and scenario.has(Flow.WRITES):
            said = f'found "unblock" in the flow "{scenario.flow}", where an SPTE has forgotten whether it let writes'
            raise UsageFault(f"{ordering.name}: shootdown: {said}")
        if scenario.has(Flow.SEPT_PAGES | Flow.TEARDOWN) and "remove" not in ordering.shootdown:
            said = f'in the flow "{scenario.flow}", where pages go for good, found none'
            raise UsageFault(f'{ordering.name}: shootdown: expected the step "remove" {said}')
        if "lock mmu_lock" in " ".join(ordering.every_step) and has_tables(flow_named(scenario.flow)):
            said = f'in the flow "{scenario.flow}", where a zapper holds it from before its first step on'
            raise UsageFault(f'{ordering.name}: found "lock mmu_lock" {said}')
        locks = own_locks(ordering) + ("no_entry_lock",) * ordering.no_entry_lock
        if scenario.has(Flow.FLUSH_CURRENT) and locks:
            said = "a vCPU's own tdx_track() takes no lock of the ordering's"
            raise UsageFault(f'{ordering.name}: found "{locks[0]}" in the flow "{scenario.flow}", where {said}')
        for fault in ordering.faults:
            _check(f'fault "{fault}"', scenario, ordering, keys, partial(looks_for, (fault,)))


def own_locks(ordering: Ordering) -> tuple[str, ...]:
    """Its steps that take or give back a lock of its own."""
    return tuple(step for step in ordering.every_step if " " in step)


def looks_for(faults: Collection[str], its: "Reads") -> bool:
    """Whether each of these faults is looked for."""
    return all(its.faults & Fault[fault.upper()] for fault in faults)


def _looks_at(fields: frozenset[str], least: int, its: "Reads") -> bool:
    """Whether so many of these rules are looked at."""
    return len(fields & its.fields) >= least


def what_is_read(scenario: Scenario, ordering: Ordering) -> "Reads":
    """What the steps of an ordering look at under a scenario."""
    from kernels.tdx.reads import reads

    return reads(_rules(scenario, ordering))


def _rules(scenario: Scenario, ordering: Ordering) -> Rules:
    """The rules, where nothing hangs on the computer or on how often something is done: what was read is known."""
    plain = scenario.model_copy(update={"shootdowns": 1, "rate": 0.0, "gap": 0, "start_offset": ""})
    return compile_rules(
        ordering, plain, clock=Clock.MONOTONIC, ticks_per_s=1e9, ticks_to_ns=1 << NS_SHIFT, shared_cpus=True
    )


def _entries(key: str, ordering: Ordering) -> list[str]:
    """The key itself, or every policy in a table of them."""
    if key.partition(".")[0] != "busy":
        return [key]
    return [one for one, _, _ in said(ordering) if one == key or one.startswith(f"{key}.")]


def _fields(key: str, scenario: Scenario, ordering: Ordering) -> frozenset[str]:
    """The rules that are what they are because of this key; none where they are the same without it."""
    head, _, rest = key.partition(".")
    if head in NOT_ASKED:
        return frozenset()
    if head in Ordering.model_fields:
        without = scenario, ordering.model_copy(update={head: _without(ordering, head, rest)})
    else:
        without = scenario.model_copy(update={head: Scenario.model_fields[head].default}), ordering
    ours, theirs = _rules(scenario, ordering), _rules(*without)
    return frozenset(name for name in Rules._fields if getattr(ours, name) != getattr(theirs, name))


def _without(ordering: Ordering, key: str, rest: str) -> Any:
    """A key's default; what has none, as a kick's have not, the other way about."""
    if key == "busy" and ordering.busy is not None:
        seamcall, _, mode = rest.partition(".")
        policy = getattr(ordering.busy, seamcall).model_copy(update={mode: None}) if mode else None
        return ordering.busy.model_copy(update={seamcall: policy})
    if key != "kick" or not rest or ordering.kick is None:
        return Ordering.model_fields[key].default
    other = {"wait": not ordering.kick.wait, "request": "none" if ordering.kick.request != "none" else "tlb_flush"}
    return ordering.kick.model_copy(update={rest: other[rest]})


def _check(
    what: str, scenario: Scenario, ordering: Ordering, keys: Iterable[str], looks: Callable[["Reads"], bool]
) -> None:
    if looks(what_is_read(scenario, ordering)):
        return
    chosen = {key: getattr(ordering, key) for key in keys if key in Ordering.model_fields}
    others = [one.model_copy(update=chosen) for one in shipped_orderings() if one.safe and one.name != ordering.name]
    said = f'{what}: no step of the flow "{scenario.flow}" looks at it under {ordering.name}, it would change nothing'
    raise UsageFault(said + next(_elsewhere(scenario, ordering, others, looks), ""))


def _elsewhere(
    scenario: Scenario, ordering: Ordering, others: Iterable[Ordering], looks: Callable[["Reads"], bool]
) -> Iterator[str]:
    """Where a step looks at it: under another ordering, else in another flow."""
    if under := [one.name for one in others if looks(what_is_read(scenario, one))]:
        yield f"; under {listed(under)} one does"
    flows = [flow_name(flow) for flow in FLOWS]
    examples = {flow: load_scenario(example_of(flow)) for flow in flows}
    if found := [f'"{flow}"' for flow in flows if looks(what_is_read(examples[flow], ordering))]:
        yield f"; in flow {listed(found)} one does"
