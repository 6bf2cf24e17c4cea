"""The commit that a result names: of the checkout that it runs from, or that an installed copy was built from."""

import runpy
import subprocess
from pathlib import Path

import pytest

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


GIT = """#!/bin/sh
for last; do :; done
echo "$last" >> "$0.asked"
case "$3:$(grep -c . "$0.asked")" in
    {killed}) kill -9 $$ ;;
    {failing}) exit 128 ;;
esac
[ "$3" = rev-parse ] && echo 0123abcd
exit 0
"""


@pytest.mark.parametrize(
    ("killed", "failing", "found"),
    [
        ("rev-parse:1|rev-parse:2|status:4", "x", "0123abcd"),
        ("rev-parse:*", "x", None),
        ("status:*", "x", None),  # whether files differ is not known, which is no "no"
        ("x", "status:*", None),
    ],
)
def test_a_git_that_was_killed_is_asked_again_and_nothing_is_made_up(
    killed: str, failing: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text(GIT.format(killed=killed, failing=failing))
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(git.parent), prepend=":")

    assert commit_of(tmp_path / "stress") == found


def test_a_byte_that_is_no_character_stands_escaped_in_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/tdx-stress", "run", "--ordering", "f\udcffü.toml"])

    assert provenance.command() == ["tdx-stress", "run", "--ordering", "f\\xffü.toml"]
