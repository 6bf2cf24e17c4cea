"""Amounts of memory as a user writes them, and how much of it this process may take."""

import psutil
from pydantic import ByteSize, TypeAdapter, ValidationError

from results.machine.host import memory_to_be_had
from scenarios.wording import shown
from stress.errors import CannotRunHere, UsageFault
from stress.processes.limits import address_space_left

MIN_BYTES = 64 << 20
SHARE = 0.75
# Reserved for a byte that a search may fill, with 16 threads; and what compiling takes beside it.
RESERVED, BESIDE_BYTES = 10, 512 << 20


def chosen_memory(text: str | None) -> int:
    """The bytes of `--memory`, such as 8G, 500MB or 2GiB; three quarters of what is free where nothing is said, or less
    where the limit of address space has no room for the tables of so much.

    G is 10**9 and GiB is 2**30. Raises UsageFault on anything else, and on more than this machine has; CannotRunHere
    where the limit is in the way.
    """
    if text is None:
        return in_address_space(max(int(memory_to_be_had() * SHARE), MIN_BYTES))
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text.strip()))
    except (ValidationError, OverflowError):
        raise UsageFault(f"--memory: expected an amount such as 8G, 500MB or 2GiB, found {shown(text)}") from None
    total = psutil.virtual_memory().total
    if not MIN_BYTES <= size <= total:
        most = in_words(total)
        raise UsageFault(
            f"--memory: expected from {in_words(MIN_BYTES)} to {most}, what this machine has, found {shown(text)}"
        )
    room = in_address_space(size)
    if room < size:
        raise CannotRunHere(
            f"--memory: the limit of address space (ulimit -v) leaves room for {in_words(room)}, found {text.strip()}; "
            "raise it or give less"
        )
    return size


def in_address_space(size: int) -> int:
    """So much memory for searches, or less where that is all that the limit of address space has room for: tables are
    reserved larger than they are filled. Raises CannotRunHere where that is too little.
    """
    left = address_space_left()
    if left is None:
        return size
    room = (left - BESIDE_BYTES) // RESERVED
    if room < MIN_BYTES:
        raise CannotRunHere(
            f"a search reserves at least {in_words(MIN_BYTES * RESERVED + BESIDE_BYTES)} of address space, and the "
            f"limit (ulimit -v) leaves {in_words(left)}; raise it, or try `run`"
        )
    return min(size, room)


def in_words(size_bytes: float) -> str:
    """`64.0 MiB`, `1.2 GiB`."""
    return str(ByteSize(int(size_bytes)).human_readable(separator=" "))
