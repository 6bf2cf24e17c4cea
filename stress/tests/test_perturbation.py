import pytest

from conftest import SmallMachine
from stress.errors import UsageFault
from stress.perturbation import declare, site_numbers

NAMES = ["", "kick.load_acquire_ipi", "mem_track.try_lock", "kick.load_acquire_ipi"]


def test_a_label_stands_for_every_site_of_its_name() -> None:
    assert site_numbers({"kick.load_acquire_ipi": 0.5, "mem_track.try_lock": 1.0}, NAMES) == {1: 0.5, 3: 0.5, 2: 1.0}


def test_an_unknown_label_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageFault) as refused:
        site_numbers({"mem_track.trylock": 0.5}, NAMES)

    assert str(refused.value) == 'yields: unknown label "mem_track.trylock"; did you mean "mem_track.try_lock"?'


def test_a_label_far_from_all_others_is_refused_with_an_example() -> None:
    with pytest.raises(UsageFault, match=r'yields: unknown label "xyz"; they look like "kick\.load_acquire_ipi"'):
        site_numbers({"xyz": 0.5}, NAMES)


def test_probabilities_stand_in_the_words_as_parts_of_65536(small_machine: SmallMachine) -> None:
    words, lay = small_machine

    declare(words, lay, {1: 0.5, 2: 1.0, 3: 0.0})

    assert words[lay.perturb : lay.perturb + 4].tolist() == [0, 32768, 65536, 0]
