"""The commit that a result names: of the checkout that it runs from, or that an installed copy was built from."""

import runpy
import subprocess
from pathlib import Path

from stress import provenance

SOURCE = Path(provenance.__file__)


def commit_of(room: Path) -> str | None:
    """What a copy of the module in this room says."""
    room.mkdir(exist_ok=True)
    copy = room / SOURCE.name
    copy.write_bytes(SOURCE.read_bytes())
    found: str | None = runpy.run_path(str(copy))["commit"]()
    return found


def test_an_installed_copy_says_what_it_was_built_from(tmp_path: Path) -> None:
    (tmp_path / "stress").mkdir()
    (tmp_path / "stress/COMMIT").write_text("0123abcd+changes\n")

    assert commit_of(tmp_path / "stress") == "0123abcd+changes"


def test_sources_alone_know_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path / "stress") is None


def test_a_checkout_says_its_head_and_whether_files_differ(tmp_path: Path) -> None:
    commit_of(tmp_path / "stress")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "First"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    assert commit_of(tmp_path / "stress") == head
    (tmp_path / "stress/COMMIT").write_text("of another build\n")
    assert commit_of(tmp_path / "stress") == head

    subprocess.run([*git, "add", "-A"], check=True)
    assert commit_of(tmp_path / "stress") == f"{head}+changes"
