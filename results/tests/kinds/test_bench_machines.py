"""A bench whose rounds ran on several machines: the machine is a factor of ratios, and no times are put together."""

from functools import partial
from pathlib import Path

import pytest

from results.draw.sheet import drawn
from results.kinds.bench import pictures
from results.kinds.bench.compare import compared, read_both
from results.kinds.bench.directory import rows
from results.kinds.bench.findings import bench_caveats, found
from results.kinds.bench.pictures import bench_pictures
from results.kinds.bench.record import Bench, Comparison
from results.kinds.bench.tables import along_machines, bench_screen, parts
from results.tests.builders.bench import Value, a_bench, noisy, with_races
from results.tests.builders.kept import keep
from results.tests.views import printed

ONE, TWO = "1a2b3c4d", "5e6f7081"


def of_two(rounds: int, value: Value, values: tuple[int, ...] = ()) -> Bench:
    """Every other round on the second machine, which takes 100 times as long for all."""
    bench = a_bench(rounds, lambda arm, point, n: (value(arm, point, n) or 0) * (1 if n % 2 else 100), values=values)
    hosts = {name: {**bench.host, "id": name} for name in (ONE, TWO)}
    bench = with_races(bench, machine=lambda race: ONE if race.round % 2 else TWO)
    return bench.model_copy(update={"hosts": hosts})


def p50(bench: Bench, point: str = "") -> Comparison:
    return next(c for c in bench.comparisons if (c.figure, c.arm, c.point) == ("p50_ns", "B", point))


def test_a_ratio_is_of_both_machines_and_no_median_is():
    bench = found(of_two(20, noisy({"B": 1.2})))

    assert p50(bench).ratio == pytest.approx(1.2, rel=0.05)
    assert (p50(bench).finding, p50(bench).reference, p50(bench).value) == ("differs", None, None)
    assert bench.aa is not None
    assert not bench.aa.differs


def test_each_machine_takes_a_round_more_than_ten():
    assert p50(found(of_two(10, noisy({})))).verdict_text == (
        "too few: measured in 10 rounds of 2 machines, 11 are needed"
    )
    assert p50(found(of_two(11, noisy({})))).finding == "no_difference"


def test_machines_whose_ratios_differ_are_seen_side_by_side():
    sides = noisy({"B": 1.2}), noisy({"B": 1.8})
    bench = found(of_two(24, lambda arm, point, n: sides[n % 2 == 0](arm, point, n)))

    assert p50(bench).ratio == pytest.approx(1.2 * 1.5**0.5, rel=0.05)
    beside = along_machines(bench)
    assert p50(beside, f"machine={ONE}").ratio == pytest.approx(1.2, rel=0.05)
    assert p50(beside, f"machine={TWO}").ratio == pytest.approx(1.8, rel=0.05)
    assert p50(beside, f"machine={TWO}").reference == pytest.approx(100_000, rel=0.1)


def test_the_screen_and_the_table_of_figures_tell_machines_apart():
    bench = found(of_two(12, noisy({})))
    shown = printed(*bench_screen(bench.model_copy(update={"caveats": bench_caveats(bench)})), width=200)

    assert f"machine={ONE}" in shown
    assert "2 machines ran the rounds" in shown
    assert [row["machine"] for row in rows(bench)][:6] == [ONE] * 3 + [TWO] * 3


@pytest.mark.parametrize("values", [(), (1, 2)])
def test_a_picture_has_the_machines_side_by_side(monkeypatch: pytest.MonkeyPatch, values: tuple[int, ...]):
    monkeypatch.setattr(pictures, "drawn", partial(drawn, kinds=["svg"]))  # half the time
    files = bench_pictures(found(of_two(24, noisy({}), values=values)))

    assert set(files) == {"ratios.svg", "machines.svg", "scaling.svg"}


def test_growth_along_a_sweep_is_of_each_machine_alone():
    bench = found(of_two(24, lambda arm, point, n: 100.0 * float(point[6:]) ** 2, values=(1, 2, 4, 8, 16)))

    assert [slope.slope for slope in bench.slopes] == pytest.approx([2.0] * len(bench.slopes))
    assert {slope.medians for slope in bench.slopes} == {()}
    assert [parts(bench)[1].slopes[0].medians[0], parts(bench)[0].slopes[0].medians[0]] == [10_000.0, 100.0]


def test_two_results_are_compared_on_the_machines_that_both_have(tmp_path: Path):
    both, alone = of_two(24, noisy({})), a_bench(12, noisy({"B": 1.5}))
    alone = alone.model_copy(update={"host": {**alone.host, "id": ONE}})

    made = compared(*read_both(keep(tmp_path / "both", both), keep(tmp_path / "alone", alone)))

    assert {one.point for one in made} == {f"machine={ONE}"}
    (v18,) = (one for one in made if (one.figure, one.ordering) == ("p50_ns", "v18"))
    assert (v18.finding, v18.rounds) == ("differs", 12)
