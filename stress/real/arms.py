"""What a real race runs on: the files whose pages go, the mapping that readers share, and each actor's work.

memfd: each reader is a process that maps one memfd for itself. The host punches a hole, and the kernel takes the page
out of every process. munmap, mprotect: readers are threads of one process. The host maps another page over theirs, or
forbids all access to it for a while; a reader that faults then tries again. kvm, guest_memfd: readers are vCPUs of a
guest whose memory is the memfd, or a guest_memfd, into which the host punches holes.
"""

import contextlib
import mmap
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from kernels.layout import LINE_WORDS
from kernels.race.clock import Calibration
from kernels.real.loops import load_loops
from kernels.real.words import BEGUN, DONE, PAGE_BYTES, SLOT, Fault, Host, Places, Way, content, places
from scenarios.reals import Real
from stress.errors import CannotRunHere
from stress.processes.placement import Cpus, inherited_cpus
from stress.processes.shared_words import Words, shared_words
from stress.processes.worker import Job
from stress.real.guest import Guest, check_kvm

WAYS = {"munmap": Way.map, "mprotect": Way.protect}
GUESTS = ("kvm", "guest_memfd")
THREADS = (*WAYS, *GUESTS)


@dataclass(frozen=True, slots=True)
class Ground:
    """One arm's race, laid out: shared words, the file that readers map and the one that gets the freed pages."""

    arm: str
    words: Words
    places: Places
    file: int
    others: int


@contextlib.contextmanager
def laid_out(arm: str, real: Real) -> Iterator[Ground]:
    """The ground of a race, with generation 1 of each page; its files are closed at the end. Raises HarnessFault, and
    CannotRunHere where the system has no memfd that takes a hole.
    """
    where = places(real.vcpus, real.pages)
    words = shared_words(where.total_words)
    with contextlib.ExitStack() as stack:
        try:
            file, others = (os.memfd_create(f"tdx-stress {name}") for name in ("pages", "others"))
            stack.callback(os.close, file)
            stack.callback(os.close, others)
            for each, count in ((file, real.pages + 2), (others, real.pages + 1)):
                os.ftruncate(each, count * PAGE_BYTES)
            for page in range(real.pages + 1):
                os.pwrite(file, content(page, 1).to_bytes(8, "little"), page * PAGE_BYTES)
        except (OSError, AttributeError) as error:
            raise CannotRunHere(f"{arm}: no memfd of {real.pages} pages is to be had: {error}") from None
        lines = where.page + LINE_WORDS * np.arange(real.pages + 1)
        words[lines + BEGUN] = words[lines + DONE] = 1
        words[lines + SLOT] = np.arange(real.pages + 1)
        words[where.spare] = real.pages + 1
        yield Ground(arm, words, where, file, others)


def placed(readers: int, cpus: Cpus) -> tuple[Cpus, list[Cpus]]:
    """The host's CPU, and the readers' in turn: apart from the host's where there is more than one."""
    rest = cpus[1:] or cpus
    return cpus[:1], [(rest[reader % len(rest)],) for reader in range(readers)]


def teams(ground: Ground, real: Real, clock: Calibration, cpus: Cpus) -> list[list[Job]]:
    """Every actor's work, by the processes that carry it; readers first, so that they line up before the host."""
    loops, words, where = load_loops(), ground.words, ground.places
    own, of_readers = placed(real.vcpus, cpus)
    fault = int(Fault[real.faults[0]] if real.faults else Fault.none)
    shared = ground.arm in THREADS
    memory = _mapped(ground.file, real.pages) if shared else None
    guest = None
    if memory is not None and ground.arm in GUESTS:
        guest = Guest(memory, words, where, ground.file if ground.arm == "kvm" else -1)

    def read(reader: int) -> int:
        if guest is not None:
            return guest.run(reader)
        # A process maps the file for itself; threads have one mapping, made before the fork.
        seen = _mapped(ground.file, real.pages) if memory is None else memory
        return int(loops.read_pages(words, seen, where, reader, _seed(real.seed, reader + 1)))

    def take_away() -> int:
        file, view = guest.pages() if guest else (ground.file, memory)
        view = _mapped(file, real.pages) if view is None else view
        way = WAYS.get(ground.arm, Way.hole)
        other = ground.others if way == Way.hole else view.ctypes.data
        clocked = int(clock.clock), clock.ticks_to_ns
        host = Host(int(way), words.ctypes.data, file, other, *clocked, real.gap, fault)
        return int(loops.take_pages(words, view, where, host, _seed(real.seed, 0)))

    opens = _tries_again if ground.arm == "mprotect" else lambda: None
    jobs = [Job(f"vcpu {i}", partial(read, i), its, opens=opens) for i, its in enumerate(of_readers)]
    jobs.append(Job("zapper 0", take_away, own))
    return [jobs] if shared else [[job] for job in jobs]


def _tries_again() -> None:
    """In a worker's main thread: an access that is not allowed is tried again until it is.

    Python's own handler takes down that there was a signal and returns to the instruction, in whichever thread.
    """
    signal.signal(signal.SIGSEGV, lambda *_: None)


def _mapped(file: int, pages: int) -> Words:
    """The file's pages as words, with the one that nobody reads. The mapping lives as long as the array."""
    mapping = mmap.mmap(file, (pages + 1) * PAGE_BYTES)
    with contextlib.suppress(OSError, AttributeError):  # a kernel without huge pages
        mapping.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(mapping, dtype=np.int64)


def _seed(seed: int, actor: int) -> int:
    """An actor's own, never 0."""
    drawn = np.random.SeedSequence((seed, actor)).generate_state(1, np.uint64)[0]
    return int(drawn >> np.uint64(1)) | 1


def warmed(arms: Sequence[str], clock: Calibration) -> None:
    """Have each loop compiled, or taken from the cache, before the first fork: each runs once, and ends at once."""
    smallest = Real(name="", arms=tuple(arms), vcpus=1, pages=1)
    for arm in arms:
        if arm in GUESTS:
            check_kvm(arm)
        with laid_out(arm, smallest) as ground:
            ground.words[ground.places.stop] = 1
            for job in chain(*teams(ground, smallest, clock, inherited_cpus())):
                try:
                    job.run()
                except OSError as error:
                    raise CannotRunHere(f"{arm}: {job.name}: {error.strerror}") from None
