import pytest

from conftest import SmallMachine
from kernels.layout import FINISHED, LABEL, Layout
from kernels.tdx.counters import ENTRIES, EXITS, SHOOTDOWNS
from stress.processes.watchdog import Watchdog, actor_names, finished, head_words, positions

ZAPPER, VCPU_0, VCPU_1 = 0, 1, 2


def text(lay: Layout, label: int) -> str:
    return f"step {label}"


def test_who_makes_no_progress_for_the_limit_is_found(small_machine: SmallMachine) -> None:
    words, lay = small_machine
    heads = head_words(lay)
    dog = Watchdog(words, lay, limit_s=1.0)
    words[heads[ZAPPER] + SHOOTDOWNS] += 1
    first = dog.look(0.6)
    words[heads[VCPU_1] + ENTRIES] += 1

    assert first == ()
    assert dog.look(0.6) == (VCPU_0,)


def test_who_moves_again_starts_anew(small_machine: SmallMachine) -> None:
    words, lay = small_machine
    dog = Watchdog(words, lay, limit_s=1.0)
    dog.look(0.9)
    words[head_words(lay) + ENTRIES] += 1
    words[head_words(lay) + SHOOTDOWNS] += 1
    dog.look(0.9)

    assert dog.look(0.9) == ()


def test_a_zapper_may_rest_between_two_shootdowns(small_machine: SmallMachine) -> None:
    words, lay = small_machine
    dog = Watchdog(words, lay, limit_s=1.0, rest_s=10.0)

    assert dog.look(1.0) == (VCPU_0, VCPU_1)
    assert dog.look(10.0) == (ZAPPER, VCPU_0, VCPU_1)


INSIDE = {ENTRIES: 7, EXITS: 6}


@pytest.mark.parametrize(
    ("all_have", "vcpus_have", "ipi", "stuck"),
    [
        ({FINISHED: 1}, {}, 0, ()),
        ({}, INSIDE, 0, (ZAPPER,)),
        ({}, INSIDE, 1, (ZAPPER, VCPU_1)),
    ],
    ids=["who has finished", "a vCPU in the guest that nobody asks to leave", "but not one with an IPI pending"],
)
def test_it_is_at_rest(small_machine: SmallMachine, all_have, vcpus_have, ipi, stuck) -> None:
    words, lay = small_machine
    heads = head_words(lay)
    for place, counters in ((heads, all_have), (heads[[VCPU_0, VCPU_1]], vcpus_have)):
        for counter, value in counters.items():
            words[place + counter] = value
    words[lay.ipi + lay.vcpu_stride] = ipi

    assert Watchdog(words, lay, limit_s=1.0).look(5.0) == stuck


def test_everybody_is_named_by_kind_and_number_at_their_label_or_at_their_end(small_machine: SmallMachine) -> None:
    words, lay = small_machine
    words[head_words(lay) + LABEL] = [3, 8, 8]
    before = positions(words, lay, text)
    words[head_words(lay)[ZAPPER] + FINISHED] = 1

    assert before == ("zapper 0 at step 3", "vcpu 0-1 at step 8")
    assert positions(words, lay, text) == ("zapper 0 at its end", "vcpu 0-1 at step 8")
    assert actor_names(lay, [ZAPPER, VCPU_1]) == "zapper 0, vcpu 1"


def test_all_have_finished_when_the_last_one_has(small_machine: SmallMachine) -> None:
    words, lay = small_machine
    words[head_words(lay)[[ZAPPER, VCPU_0]] + FINISHED] = 1

    assert finished(words, lay, 2)
    assert not finished(words, lay, 3)
    assert not finished(words, lay)
