"""A result in its directory, as whoever reads one back finds it."""

from pathlib import Path
from typing import Any

import numpy as np

from results.kinds.bench.record import Bench
from results.kinds.kind import BY_NAME, KINDS
from results.store import RAW


def keep(directory: Path, made: Any, **arrays: Any) -> Path:
    """The directory, in which this bench or this document now stands in the file of its kind, and its arrays beside."""
    directory.mkdir(parents=True, exist_ok=True)
    kind = BY_NAME["bench"] if isinstance(made, Bench) else next(one for one in KINDS if made["schema"] in one.models)
    (directory / kind.file).write_text(kind.text(made))
    if arrays:
        np.savez(directory / RAW, **arrays)
    return directory
