"""A virtual machine of KVM with nothing in it but the readers' loop: its memory is the pages and the shared words.

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
from kernels.real.words import Places
from stress.errors import CannotRunHere
from stress.processes.shared_words import Words

DEVICE = "/dev/kvm"
CREATE_VM, VCPU_MMAP_SIZE, CREATE_VCPU, SET_TSS_ADDR, RUN = 0xAE01, 0xAE04, 0xAE41, 0xAE47, 0xAE80
SET_MEMORY, SET_REGS, GET_SREGS, SET_SREGS = 0x4020AE46, 0x4090AE82, 0x8138AE83, 0x4138AE84
EXIT_REASON, EXIT_MMIO, EXIT_INTR = 8, 6, 10
NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", *(f"r{i}" for i in range(8, 16)), "rip", "rflags")
SREGS_BYTES, SEGMENT_BYTES, CONTROL = 312, 24, 8 * 24 + 2 * 16
CR0, CR4, EFER = 0x80050033, 0x20, 0x500  # protected, paging, SSE-less; PAE; long mode, on
PAGE = 4096
LOST = 73  # a job's exit code where the guest left for a reason of its own


def check_kvm() -> None:
    """Raises CannotRunHere, with the reason in one line, where no virtual machine can be made."""
    if platform.machine() != "x86_64":
        raise CannotRunHere(f"kvm: the guest is written for x86_64, and this machine is {platform.machine()}")
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise CannotRunHere(f"kvm: {DEVICE}: {error.strerror}; load the module, or ask for access to it") from None


class Guest:
    """A machine with a vCPU for each reader. It is made where the first of them runs, and gone with the process."""

    def __init__(self, memory: Words, words: Words, where: Places) -> None:
        self._memory, self._words, self._where = memory, words, where
        self._lock = threading.Lock()
        self._vm = -1

    def run(self, reader: int) -> int:
        """Run a vCPU until it is told to stop: 0, or LOST."""
        with self._lock:
            if self._vm < 0:
                self._make()
            cpu = fcntl.ioctl(self._vm, CREATE_VCPU, reader)
        status = mmap.mmap(cpu, self._status_bytes)
        self._set_registers(cpu, reader)
        reason = EXIT_INTR
        while reason == EXIT_INTR:
            with contextlib.suppress(InterruptedError):
                fcntl.ioctl(cpu, RUN, 0)
                reason = struct.unpack_from("<I", status, EXIT_REASON)[0]
        status.close()
        os.close(cpu)
        return 0 if reason == EXIT_MMIO else LOST

    def _make(self) -> None:
        kvm = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._vm, self._status_bytes = fcntl.ioctl(kvm, CREATE_VM, 0), fcntl.ioctl(kvm, VCPU_MMAP_SIZE, 0)
        finally:
            os.close(kvm)
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
            fcntl.ioctl(self._vm, SET_MEMORY, struct.pack("<IIQQQ", slot, 0, at, size, array.ctypes.data))

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
