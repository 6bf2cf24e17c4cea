"""What hatchling runs when it builds from a checkout: the commit goes along, as an installed copy has no git."""

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):  # type: ignore[misc]
    """Adds the file that `stress.provenance` reads; without git, or where it is there already, nothing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the build; `version` is "editable" for a copy that stays in its checkout."""
        # By path: the package that is built is not installed here.
        known = runpy.run_path(str(Path(self.root, "stress", "provenance.py")))
        commit = known["commit"]()
        if commit and version != "editable" and known["in_checkout"]():
            self.made = tempfile.TemporaryDirectory()
            written = Path(self.made.name, known["COMMIT"])
            written.write_text(f"{commit}\n", encoding="utf-8")
            build_data["force_include"][str(written)] = f"stress/{known['COMMIT']}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called behind it."""
        if made := getattr(self, "made", None):
            made.cleanup()
