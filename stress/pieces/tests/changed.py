"""A stored piece, or a job, as another machine or version would have stored it."""

import json
from pathlib import Path

from stress.pieces.record import digest_of


def change(path: Path, **words: str) -> None:
    """These words anew, with a sum that fits."""
    value = json.loads(path.read_text()) | words
    del value["sum"]
    path.write_text(json.dumps({**value, "sum": digest_of(value)}))
