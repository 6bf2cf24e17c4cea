"""The record of an exploration as JSON, and its caveats."""

import json

import pytest

from results.kinds.exploration import Found, document, exploration_caveats, record
from results.tests.builders.exploration import SUBJECT, WHOLE, drawn, explored

STEPS = ({"actor": "vcpu 0", "step": "vcpu: store_seq_cst mode (kernels/tdx/kvm/vcpu_run.py:189)", "chosen": 0},)


def test_an_entry_names_what_was_reached_in_the_order_of_the_outcomes() -> None:
    one = explored({"tracking_not_done": 33, "operand_busy": 5, "fault": 12})

    assert one["outcomes"] == ["fault", "operand_busy", "tracking_not_done"]
    assert one["witness_steps"] == {"fault": 12, "operand_busy": 5, "tracking_not_done": 33}
    assert one["grades"]["tracking_not_done"] == "forbidden"
    assert (one["verdict"], one["states"], one["complete"]) == ("failed", 50_000, True)


def test_an_entry_holds_the_schedule_where_one_was_told() -> None:
    one = record(SUBJECT, WHOLE, {"not_blocked": Found(1, None, STEPS), "fault": Found(3)}, {})

    assert one["witnesses"] == {"not_blocked": list(STEPS)}


def test_an_entry_of_random_schedules_counts_those_that_showed_an_outcome() -> None:
    one = drawn({"fault": (12, 900)})

    assert (one["schedules_with"], one["seed"], one["states"]) == ({"fault": 900}, 7, None)


def test_a_single_ordering_is_a_document_of_its_own_and_several_are_a_list_though_only_one_was_reached() -> None:
    alone, several = (document({"version": "0.1.0"}, [explored()], single=single) for single in (True, False))

    assert (alone["schema"], alone["version"], alone["ordering"]) == ("tdx-stress/exploration/1", "0.1.0", "v18")
    assert json.loads(json.dumps(alone, allow_nan=False)) == alone
    assert several["schema"] == "tdx-stress/explorations/1"
    assert [one["ordering"] for one in several["explorations"]] == ["v18"]


def caveats(*explorations: dict[str, object]) -> dict[str, str]:
    """What was seen, by the caveat's id."""
    return {caveat["id"]: caveat["seen"] for caveat in exploration_caveats(explorations)}


@pytest.mark.parametrize(
    ("found", "caveat", "said"),
    [
        (
            explored(), "bounded",
            "all of 2 vCPUs, 1 zapper, 1 page, 1 TLB entry, 1 shootdown, one atomic step at a time",
        ),
        (
            explored(complete=False, stopped_by="memory", frontier=4000), "out_of_memory",
            "the search ran out of the memory that it may use: v18 after 50,000 states, 4,000 states still to expand",
        ),
        (explored(liveness=None), "no_liveness", "livelocks were not looked for in v18"),
        (
            explored({"tracking_not_done": 33, "previous_epoch_busy": 50}, expect=("tracking_not_done",)),
            "undeclared_outcome", "forbidden and not declared: v18 previous_epoch_busy",
        ),
        (drawn(unfinished=12), "unfinished_schedules", "schedules that were cut off: 12 of v18"),
    ],
)  # fmt: skip
def test_a_caveat_says_what_was_seen(found: dict[str, object], caveat: str, said: str) -> None:
    assert caveats(found)[caveat] == said


def test_a_search_has_no_caveat_without_its_reason() -> None:
    assert caveats(explored()).keys() == {"bounded"}
    assert "bounded" not in caveats(explored(complete=False, stopped_by="memory"))


def test_a_likely_miss_is_a_caveat_and_an_unlikely_one_is_not() -> None:
    assert "fingerprints" in caveats(explored(chance_of_miss=1e-3))
    assert "fingerprints" not in caveats(explored(chance_of_miss=1e-9))


@pytest.mark.parametrize(
    ("asked", "advice"), [(True, "a smaller machine or more --memory"), (False, "the same without --no-liveness")]
)
def test_what_to_try_is_not_to_leave_out_an_option_that_nobody_typed(asked: bool, advice: str) -> None:
    found = exploration_caveats([explored(liveness=None, liveness_asked=asked)])

    assert [one["try"] for one in found if one["id"] == "no_liveness"] == [advice]


def test_random_schedules_say_what_rate_they_would_have_shown_and_pct_that_its_bound_does_not_hold() -> None:
    uniform, pct = exploration_caveats([drawn()]), exploration_caveats([drawn(method="pct", pct_depth=3)])

    # 1 - 0.05 ** (1 / 1000)
    assert [one["means"] for one in (*uniform, *pct)] == [
        "never a proof: what shows in 0.30 % of such schedules or more would have been seen (95 %)",
        "never a proof: what each schedule shows with a chance of 0.30 % or more would have been seen (95 %); "
        "PCT's bound for 3 ordered steps does not hold, as whoever waits falls behind too",
    ]
