"""The storm for a few seconds, in a process of its own: it takes in orphans and forks."""

import subprocess
import sys

import pytest

SHORT = """
from stress.tests.storm import storm
table = storm(3, 8.0, 2, 12, short=True)
print("\\n".join(table.lines()))
raise SystemExit(bool(table.failures) or not table.tries)
"""


@pytest.mark.processes
def test_nothing_that_is_killed_or_damaged_is_more_than_a_line(command_environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT], env=command_environment, capture_output=True, text=True, timeout=200
    )

    assert done.returncode == 0, done.stdout + done.stderr
