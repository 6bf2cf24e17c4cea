import os
import signal
from collections.abc import Iterator

import pytest

from stress.interrupts import Interrupts

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_counted_and_nothing_else_happens() -> None:
    with Interrupts() as interrupts:
        before = bool(interrupts)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    assert not before
    assert interrupts.received == 2


def test_without_an_interrupt_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOPPING]

    with Interrupts():
        pass

    assert [signal.getsignal(number) for number in STOPPING] == before


def test_after_an_interrupt_others_are_ignored() -> None:
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)

    assert {signal.getsignal(number) for number in STOPPING} == {signal.SIG_IGN}


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGHUP)

    assert interrupts.received == 0
