"""What a command has printed as JSON."""

import json
import subprocess
from typing import Any


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON on stdout; fails with whatever was said on stderr where there is none."""
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
