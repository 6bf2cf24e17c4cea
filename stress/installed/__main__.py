"""The command `tdx-stress` of an installation, also `python -m tdx_stress`."""

import os
import sys


def main() -> None:
    """Let the rooms be found under the names that they have in the repository, before anything else of these names, and
    only in this program.
    """
    sys.path.insert(0, os.path.dirname(__file__))
    from stress.__main__ import main as command

    command()


if __name__ == "__main__":
    main()
