"""What a real scenario takes, and the one line for what it does not."""

import pytest

from scenarios.reals import Real
from scenarios.wording import ScenarioError
from stress.errors import UsageFault
from stress.options import BenchRequest, RunRequest
from stress.real.arms import placed
from stress.real.resolve import resolve_real
from stress.resolve import resolve

NOTHING = "the kernel's own shootdown has no ordering, no step and no rate of ours; leave it out"


def test_options_and_settings_go_into_the_scenario() -> None:
    request = RunRequest("memfd", vcpus=5, pages=7, duration="2m", seed=11, zappers=1, settings=("gap=13",))

    assert resolve_real(request) == Real(
        name="memfd", title="Holes punched into a memfd under processes that map it",
        source=resolve_real(RunRequest("memfd")).source, arms=("memfd",), vcpus=5, pages=7, gap=13, duration_s=120.0,
        seed=11,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"orderings": ("v18",)}, f"--ordering: means nothing in scenario munmap: {NOTHING}"),
        ({"rate": 5.0}, f"--rate: means nothing in scenario munmap: {NOTHING}"),
        ({"delays": ("a=1us",)}, f"--delay: means nothing in scenario munmap: {NOTHING}"),
        ({"trace": True}, f"--trace: means nothing in scenario munmap: {NOTHING}"),
        ({"amplify": "auto"}, f"--amplify: means nothing in scenario munmap: {NOTHING}"),
        ({"zappers": 2}, "--zappers: expected 1 in scenario munmap, found 2"),
        ({"vcpus": 0}, "--vcpus: expected a whole number from 1 to 512, found 0"),
        ({"pages": 16_385}, "--pages: expected a whole number from 1 to 16384, found 16385"),
        (
            {"settings": ("reads=hot_set",)},
            '--set: unknown key of scenario munmap "reads"; expected vcpus, pages, gap, duration_s, seed or watchdog_s',
        ),
        ({"settings": ("gap=-1",)}, "--set: gap: expected a whole number of pauses from 0 to 1000000000, found -1"),
        ({"faults": ("no_kick",)}, '--fault: unknown fault "no_kick"; expected published_early or reused_early'),
    ],
)
def test_what_means_nothing_there_is_refused_in_one_line(given: dict[str, object], line: str) -> None:
    with pytest.raises((ScenarioError, UsageFault)) as refused:
        resolve_real(RunRequest("munmap", **given))  # type: ignore[arg-type]

    assert str(refused.value) == line


def test_a_real_scenario_is_no_model_and_a_real_fault_breaks_none() -> None:
    with pytest.raises(ScenarioError, match=r"the kernel's own shootdown, no model: `tdx-stress run memfd`"):
        resolve(BenchRequest("memfd"))
    with pytest.raises(UsageFault, match=r"^--fault: reused_early breaks a real host, no model: `tdx-stress run memfd"):
        resolve(RunRequest(faults=("reused_early",)))


def test_readers_run_apart_from_the_host_where_there_is_more_than_one_cpu() -> None:
    assert placed(3, (4, 6, 7)) == ((4,), [(6,), (7,), (6,)])
    assert placed(2, (4,)) == ((4,), [(4,), (4,)])
