"""What a user is told while the kernels are compiled, or taken from the cache."""

import contextlib
import time
from collections.abc import Iterable, Iterator

from kernels.language.cache import cache_directory, is_kept, troubles
from stress.screen import Screen


@contextlib.contextmanager
def compiling(progress: Screen | None, names: Iterable[str], what: str, *, verbose: bool) -> Iterator[None]:
    """Say `what` takes how long where code of these names is not kept; behind it, what is wrong with the cache."""
    if progress is None:
        yield
        return
    if not is_kept(names):
        progress.line(f"compiling {what}")
    begun = time.monotonic()
    yield
    for trouble in troubles():
        progress.line(f"tdx-stress: {trouble}")
    if verbose:
        where = f"kept in {place}" if (place := cache_directory()) else "not kept"
        progress.line(f"kernels ready after {time.monotonic() - begun:.2f} s, {where}")
