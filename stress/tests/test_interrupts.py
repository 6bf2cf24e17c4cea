import os
import signal

from stress.interrupts import Interrupts


def test_signals_are_counted_and_nothing_else_happens() -> None:
    with Interrupts() as interrupts:
        before = bool(interrupts)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    assert not before
    assert interrupts.received == 2


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Interrupts():
        pass

    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert interrupts.received == 0
