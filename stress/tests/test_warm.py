"""The process that commands under test are forked from."""

from pathlib import Path

import pytest

from stress.tests.warm import Warm


@pytest.mark.processes
def test_a_command_that_does_not_end_is_gone_with_the_process_that_it_was_forked_from(
    command_environment: dict[str, str], tmp_path: Path
) -> None:
    warm = Warm(command_environment)
    listed = warm.run(tmp_path, ["list", "--json"], 60.0)

    with pytest.raises(TimeoutError, match=r"not done after 0\.2 s"):
        warm.run(tmp_path, ["run", "--duration", "60s"], 0.2)

    assert (listed.returncode, listed.stdout[0], listed.stderr) == (0, "{", "")
    assert warm.lost
