"""What pictures know of orderings and what is shipped agree."""

from results.draw.style import KNOWN, places_of
from scenarios.loader import shipped_orderings


def test_every_shipped_ordering_has_a_look_of_its_own() -> None:
    names = [ordering.name for ordering in shipped_orderings(None)]

    assert sorted(set(names) - set(KNOWN)) == []
    assert len(set(places_of(names).values())) == len(names)
