"""Scenarios whose keys do not go together: one line each."""

import pytest

from scenarios.loader import apply_settings, load_scenario
from scenarios.tests.refusals import refused


@pytest.mark.parametrize(
    ("scenario", "settings", "said"),
    [
        ("batch", ("batch=64", "zappers=3", "pages=191"),
         "pages: expected 192 or more, zappers = 3 times batch = 64, found 191"),
        ("batch", ("batch=65", "tlb_entries=64"),
         "tlb_entries: expected 128 or more, or a vCPU's TLB forgets part of a batch of 65 pages before it is flushed, "
         "found 64"),
        ("review", ("batch=2",),
         'batch: expected 1, or flow = "batch", as flow = "shootdown" takes page after page, found 2'),
        ("review", ("resched=true",),
         'resched: expected flow = "batch" beside it, found flow = "shootdown", where nobody yields in a zap'),
        ("review", ("shared_pages=4",),
         'shared_pages: expected 0, or flow = "shared_ept", as flow = "shootdown" has none, found 4'),
        ("review", ("flow=shared_ept", "shared_pages=65"),
         "shared_pages: expected from 1 to 64, as pages = 64, found 65"),
        ("review", ("flow=shared_ept",), "shared_pages: expected from 1 to 64, as pages = 64, found 0"),
        ("review", ("batch=513", "flow=batch"), "batch: expected a whole number from 1 to 512, found 513"),
        ("migrate", ("module=none",),
         'module: expected "tdx", as with "migrate" vCPUs move by TDH.VP.FLUSH, found "none"'),
        ("populate", ("flow=batch+populate", "batch=3"),
         "batch: expected 1, 2, 4 or 8, as 8 pages are below a page-table page, found 3"),
        ("teardown", ("zappers=2",),
         'zappers: expected 1, as one thread builds and destroys the TDs of flow = "teardown", found 2'),
        ("review", ("epf_threshold=1",),
         'epf_threshold: expected 6, or flow = "zero_step", as flow = "shootdown" has no such limit, found 1'),
    ],
)  # fmt: skip
def test_what_a_machine_does_not_have_is_refused(scenario: str, settings: tuple[str, ...], said: str) -> None:
    assert refused(apply_settings, load_scenario(scenario), [], settings) == f"--set: {said}"
