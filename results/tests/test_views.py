"""Every view shows what it showed: a column that is swapped, a mark that is gone, a word that has changed is seen.

`python -m results.tests.views` renews the texts; the difference is for a reader to judge.
"""

import pytest

from results.tests.views import GOLDEN, VIEWS


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shows_what_it_showed(name: str) -> None:
    assert VIEWS[name]() + "\n" == (GOLDEN / f"{name}.txt").read_text()


def test_every_kept_text_is_that_of_a_view() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(VIEWS)


@pytest.mark.parametrize("name", [name for name in VIEWS if name.endswith("-80") and not name.startswith("doctor")])
def test_a_terminal_of_80_columns_holds_it(name: str) -> None:
    assert max(map(len, (GOLDEN / f"{name}.txt").read_text().splitlines())) <= 80
