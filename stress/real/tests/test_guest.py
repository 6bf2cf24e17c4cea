"""The guest's own loop tells what it reads as the readers' loop does; without KVM there is one line instead."""

import mmap
import os
import threading
import time

import numpy as np
import pytest

from kernels.real.tests.test_loops import CONTENTS
from kernels.real.words import BEGUN, DONE, PAGE_BYTES, SEEN, SHOWN, content, places
from stress.errors import CannotRunHere
from stress.processes.shared_words import shared_words
from stress.real import guest
from stress.real.guest import Guest, check_kvm

HAS_KVM = os.access(guest.DEVICE, os.R_OK | os.W_OK)
pytestmark = pytest.mark.processes


def test_without_kvm_there_is_one_line_of_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "DEVICE", "/dev/none")
    with pytest.raises(CannotRunHere, match=r"^kvm: /dev/none: No such file or directory; load the module"):
        check_kvm()

    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(CannotRunHere, match=r"^kvm: the guest is written for x86_64, and this machine is riscv64$"):
        check_kvm()


@pytest.mark.parametrize(("begun", "done", "value", "outcome"), CONTENTS)
def test_a_guests_read_is_told_by_what_was_published_before_it(begun: int, done: int, value: int, outcome: str) -> None:
    if not HAS_KVM:
        with pytest.raises(CannotRunHere):
            check_kvm()
        return
    where = places(readers=1, pages=1)
    words = shared_words(where.total_words)
    memory = np.frombuffer(mmap.mmap(-1, PAGE_BYTES), dtype=np.int64)
    memory[:] = value
    words[where.page + BEGUN], words[where.page + DONE] = begun, done
    returned: list[int] = []
    thread = threading.Thread(target=lambda: returned.append(Guest(memory, words, where).run(0)))
    thread.start()
    while thread.is_alive() and not words[where.reader + SEEN.index(outcome)]:
        time.sleep(0.001)
    words[where.stop] = 1
    thread.join()

    counted = dict(zip(SEEN, words[where.reader :].tolist(), strict=False))
    own = outcome in ("fresh", "stale_in_window", "stale_after_done")
    assert returned == [0]
    assert {name for name, reads in counted.items() if reads} == {outcome}
    assert words[where.seen] == (value - content(0, 0) if own else 0)
    assert words[where.page + SHOWN] == (0 if outcome == "fresh" else 1 << SEEN.index(outcome))
