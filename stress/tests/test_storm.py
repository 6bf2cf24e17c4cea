"""The storm for a few seconds, in a process of its own: it takes in orphans and forks."""

import pytest

from stress.tests.command import Command

SHORT = """
from stress.tests.storm import storm
table = storm(3, 8.0, 2, 12, short=True)
print("\\n".join(table.lines()))
raise SystemExit(bool(table.failures) or not table.tries)
"""


@pytest.mark.processes
def test_nothing_that_is_killed_or_damaged_is_more_than_a_line(python: Command) -> None:
    done = python("-c", SHORT)

    assert done.returncode == 0, done.stdout + done.stderr
