"""What a real race runs on: the files whose pages go, the mapping that readers share, and each actor's work.

memfd: each reader is a process that maps one memfd for itself. The host punches a hole, and the kernel takes the page
out of every process. munmap: readers are threads of one process. The host maps another page over theirs. kvm: readers
are vCPUs of a guest whose memory is the memfd, into which the host punches holes.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from kernels.layout import LINE_WORDS
from kernels.race.clock import Calibration
from kernels.real.loops import load_loops
from kernels.real.words import BEGUN, DONE, PAGE_BYTES, SLOT, Fault, Host, Places, content, places
from scenarios.real.model import Real
from stress.errors import CannotRunHere
from stress.processes.placement import Cpus, inherited_cpus
from stress.processes.shared_words import Words, shared_words
from stress.processes.worker import Job
from stress.real.guest import Guest, check_kvm

THREADS = ("munmap", "kvm")


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
            for each, count in ((file, real.pages + 1), (others, real.pages)):
                os.ftruncate(each, count * PAGE_BYTES)
            for page in range(real.pages):
                os.pwrite(file, content(page, 1).to_bytes(8, "little"), page * PAGE_BYTES)
        except (OSError, AttributeError) as error:
            raise CannotRunHere(f"{arm}: no memfd of {real.pages} pages is to be had: {error}") from None
        lines = where.page + LINE_WORDS * np.arange(real.pages)
        words[lines + BEGUN] = words[lines + DONE] = 1
        words[lines + SLOT] = np.arange(real.pages)
        words[where.spare] = real.pages
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
    guest = Guest(memory, words, where) if memory is not None and ground.arm == "kvm" else None

    def read(reader: int) -> int:
        if guest is not None:
            return guest.run(reader)
        # A process maps the file for itself; threads have one mapping, made before the fork.
        seen = _mapped(ground.file, real.pages) if memory is None else memory
        return int(loops.read_pages(words, seen, where, reader, _seed(real.seed, reader + 1)))

    def take_away() -> int:
        view = _mapped(ground.file, real.pages) if memory is None else memory
        other = view.ctypes.data if ground.arm == "munmap" else ground.others
        clocked = int(clock.clock), clock.ticks_to_ns
        host = Host(words.ctypes.data, ground.file, other, *clocked, real.gap, fault)
        return int(loops.hosts[ground.arm](words, view, where, host, _seed(real.seed, 0)))

    jobs = [Job(f"vcpu {reader}", partial(read, reader), where_to) for reader, where_to in enumerate(of_readers)]
    jobs.append(Job("zapper 0", take_away, own))
    return [jobs] if shared else [[job] for job in jobs]


def _mapped(file: int, pages: int) -> Words:
    """The file's pages as words. The mapping lives as long as the array."""
    mapping = mmap.mmap(file, pages * PAGE_BYTES)
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
        if arm == "kvm":
            check_kvm()
        with laid_out(arm, smallest) as ground:
            ground.words[ground.places.stop] = 1
            for job in chain(*teams(ground, smallest, clock, inherited_cpus())):
                try:
                    job.run()
                except OSError as error:
                    raise CannotRunHere(f"{arm}: {job.name}: {error.strerror}") from None
