"""A virtual machine of KVM with nothing in it but the readers' loop: its memory is the pages and the shared words. The
pages are a memfd's, or a guest_memfd's that the host may map, too.

Made by ioctl, in the process whose memory it has, as KVM binds it to that. Source: Documentation/virt/kvm/api.rst;
arch/x86/include/uapi/asm/kvm.h for the layouts of kvm_regs and kvm_sregs.
"""

import contextlib
import fcntl
import mmap
import os
import platform
import struct
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.real.guest import CODE, DATA, LOOP, TABLES, WORDS, registers
from kernels.real.words import KVM, Places
from stress.errors import CannotRunHere
from stress.processes.shared_words import Words

DEVICE = "/dev/kvm"
CREATE_VM, VCPU_MMAP_SIZE, CREATE_VCPU, SET_TSS_ADDR, RUN, STATS = 0xAE01, 0xAE04, 0xAE41, 0xAE47, 0xAE80, 0xAECE
CHECK, GUEST_MEMFD_FLAGS, CREATE_GUEST_MEMFD, SET_MEMORY_2, MEM_GUEST_MEMFD = 0xAE03, 244, 0xC040AED4, 0x40A0AE49, 4
SET_MEMORY, SET_REGS, GET_SREGS, SET_SREGS = 0x4020AE46, 0x4090AE82, 0x8138AE83, 0x4138AE84
EXIT_REASON, EXIT_MMIO, EXIT_INTR = 8, 6, 10
NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", *(f"r{i}" for i in range(8, 16)), "rip", "rflags")
SREGS_BYTES, SEGMENT_BYTES, CONTROL = 312, 24, 8 * 24 + 2 * 16
CR0, CR4, EFER = 0x80050033, 0x20, 0x500  # protected, paging, SSE-less; PAE; long mode, on
PAGE = 4096
LOST = 73  # a job's exit code where the guest left for a reason of its own


def check_kvm(arm: str = "kvm") -> None:
    """Raises CannotRunHere, with the reason in one line, where no virtual machine can be made for this arm."""
    if platform.machine() != "x86_64":
        raise CannotRunHere(f"{arm}: the guest is written for x86_64, and this machine is {platform.machine()}")
    try:
        with open(DEVICE, "r+b", buffering=0) as device:
            flags = fcntl.ioctl(device, CHECK, GUEST_MEMFD_FLAGS)
    except OSError as error:
        raise CannotRunHere(f"{arm}: {DEVICE}: {error.strerror}; load the module, or ask for access to it") from None
    if arm == "guest_memfd" and not flags:
        raise CannotRunHere(f"{arm}: this KVM has none that the host may map; Linux 6.18 has, or take scenario kvm")


class Guest:
    """A machine with a vCPU for each reader. It is made where the first of them runs, and gone with the process."""

    def __init__(self, memory: Words, words: Words, where: Places, file: int = -1) -> None:
        """`file` is that of the pages in `memory`; -1 for a guest_memfd, which gets the same content."""
        self._memory, self._words, self._where, self._file = memory, words, where, file
        self._lock = threading.Lock()
        self._vm = -1

    def run(self, reader: int) -> int:
        """Run a vCPU until it is told to stop: 0, or LOST."""
        self.pages()
        with self._lock:
            cpu = fcntl.ioctl(self._vm, CREATE_VCPU, reader)
        status = mmap.mmap(cpu, self._status_bytes)
        self._set_registers(cpu, reader)
        reason = EXIT_INTR
        while reason == EXIT_INTR:
            with contextlib.suppress(InterruptedError):
                fcntl.ioctl(cpu, RUN, 0)
                reason = struct.unpack_from("<I", status, EXIT_REASON)[0]
        status.close()
        self._take_down(statistics(cpu))
        os.close(cpu)
        return 0 if reason == EXIT_MMIO else LOST

    def pages(self) -> tuple[int, Words]:
        """The file of the machine's pages, and its mapping."""
        with self._lock:
            if self._vm < 0:
                self._make()
            return self._file, self._memory

    def _take_down(self, of_vcpu: dict[str, int]) -> None:
        """A vCPU's statistics are added to the others', the machine's are told anew."""
        with self._lock:
            told = self._words[self._where.kvm :][: len(KVM)]
            of_machine = statistics(self._vm)
            told[:] = [of_machine.get(name, told[at] + of_vcpu.get(name, 0)) for at, name in enumerate(KVM)]

    def _make(self) -> None:
        with open(DEVICE, "r+b", buffering=0) as kvm:
            self._vm, self._status_bytes = fcntl.ioctl(kvm, CREATE_VM, 0), fcntl.ioctl(kvm, VCPU_MMAP_SIZE, 0)
            flags = fcntl.ioctl(kvm, CHECK, GUEST_MEMFD_FLAGS)
        weakref.finalize(self, os.close, self._vm)
        with contextlib.suppress(OSError):  # where the CPU has no use for it
            fcntl.ioctl(self._vm, SET_TSS_ADDR, 0x7FFFB000)
        self._own = np.frombuffer(mmap.mmap(-1, TABLES + 3 * PAGE), dtype=np.uint8)
        self._own[CODE : CODE + len(LOOP)] = list(LOOP)
        tables = self._own[TABLES:].view(np.int64)
        # One GiB in pages of 2 MiB, for user mode; below them KVM has pages of 4 KiB of its own.
        tables[0], tables[512] = TABLES + PAGE | 7, TABLES + 2 * PAGE | 7
        tables[1024:] = np.arange(512, dtype=np.int64) << 21 | 0x87
        parts: list[tuple[int, NDArray[Any]]] = [(0, self._own), (DATA, self._memory), (WORDS, self._words)]
        for slot, (at, array) in enumerate(parts):
            size = -(-array.nbytes // PAGE) * PAGE
            place = (at, size, array.ctypes.data)
            if at == DATA and self._file < 0:
                told = bytearray(struct.pack("<QQ6Q", size, flags, *[0] * 6))
                self._file = fcntl.ioctl(self._vm, CREATE_GUEST_MEMFD, told)
                weakref.finalize(self, os.close, self._file)
                self._memory = np.frombuffer(mmap.mmap(self._file, size), dtype=np.int64)
                self._memory[:] = array
                place = (at, size, self._memory.ctypes.data)
                told = bytearray(struct.pack("<IIQQQQII14Q", slot, MEM_GUEST_MEMFD, *place, 0, self._file, *[0] * 15))
                fcntl.ioctl(self._vm, SET_MEMORY_2, told)
            else:
                fcntl.ioctl(self._vm, SET_MEMORY, struct.pack("<IIQQQ", slot, 0, *place))

    def _set_registers(self, cpu: int, reader: int) -> None:
        special = bytearray(SREGS_BYTES)
        fcntl.ioctl(cpu, GET_SREGS, special)
        for place in range(6):  # cs, ds, es, fs, gs, ss: flat, of user mode
            code = place == 0
            kind = (0x2B, 11, 1, 3, 0, 1, 1) if code else (0x23, 3, 1, 3, 1, 1, 0)
            struct.pack_into("<QIH9B", special, place * SEGMENT_BYTES, 0, 0xFFFFFFFF, *kind, 1, 0, 0)
        struct.pack_into("<6Q", special, CONTROL, CR0, 0, TABLES, CR4, 0, EFER)
        fcntl.ioctl(cpu, SET_SREGS, bytes(special))
        found = registers(self._where, reader)
        fcntl.ioctl(cpu, SET_REGS, struct.pack("<18Q", *(found.get(name, 0) for name in NAMES)))


def statistics(owner: int) -> dict[str, int]:
    """KVM's binary statistics of a virtual machine or a vCPU, by name; of histograms the first bucket. None where this
    KVM has no such file.
    """
    try:
        file = fcntl.ioctl(owner, STATS, 0)
    except OSError:
        return {}
    with os.fdopen(file, "rb", buffering=0) as opened:
        raw = opened.read(1 << 16)
    size, count, _, descriptors, data = struct.unpack_from("<5I", raw, 4)
    found = {}
    for at in range(descriptors, descriptors + count * (16 + size), 16 + size):
        name = raw[at + 16 : at + 16 + size].split(b"\0")[0].decode()
        (found[name],) = struct.unpack_from("<Q", raw, data + struct.unpack_from("<I", raw, at + 8)[0])
    return found
