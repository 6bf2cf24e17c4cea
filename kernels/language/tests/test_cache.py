"""Where compiled code is kept, and what of it is used: nothing damaged, nothing that others could have written."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kernels.language import cache
from kernels.language.cache import cache_directory, digest, is_kept, keep, look, read, troubles


@pytest.fixture(autouse=True)
def chosen(monkeypatch, tmp_path):
    """The directory that is chosen, with a temporary one beside it; what could not be kept before is forgotten."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TDX_STRESS_CACHE", str(tmp_path / "chosen"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(cache, "_not_kept", {})
    return tmp_path / "chosen"


def kept_in(base: Path) -> Path:
    return base / digest()


def test_what_was_kept_is_read_back_and_known_by_its_kind():
    assert read("graph_12") is None
    keep("graph_12", b"code")

    assert (read("graph_12"), is_kept(["graph"]), is_kept(["graph", "walk"])) == (b"code", True, False)


def other_in_its_place(file: Path) -> None:
    keep("walk_12", b"some compiled code")
    os.replace(file.with_name("walk_12.code"), file)


def linked(file: Path) -> None:
    file.symlink_to(file.rename(file.parents[2] / "elsewhere"))


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(change(file.read_bytes()))


# By what it is: how a file becomes so, and whether it is thrown away.
UNREAD: dict[str, tuple[Callable[[Path], object], bool]] = {
    "cut": (changed(lambda code: code[:-1]), True),
    "emptied": (changed(lambda code: b""), True),
    "with another byte": (changed(lambda code: code[:40] + b"X" + code[41:]), True),
    "with another digest": (changed(lambda code: b"X" + code[1:]), True),
    "another in its place": (other_in_its_place, True),
    "that others can write": (lambda file: file.chmod(0o622), False),
    "that a group can write": (lambda file: file.chmod(0o620), False),
    "a link": (linked, False),
}


@pytest.mark.parametrize(("becomes_so", "thrown_away"), UNREAD.values(), ids=UNREAD)
def test_is_not_read_a_file(chosen, becomes_so, thrown_away):
    keep("graph_12", b"some compiled code")
    file = kept_in(chosen) / "graph_12.code"
    becomes_so(file)

    assert read("graph_12") is None
    assert file.exists() is not thrown_away


@pytest.mark.parametrize("below", ["", "the version's"])
def test_a_directory_that_others_can_write_is_not_used_and_gives_way_to_a_temporary_one(chosen, tmp_path, below):
    keep("graph_12", b"theirs")
    (kept_in(chosen) if below else chosen).chmod(0o777)
    place = tmp_path / "temporary" / f"tdx-stress-{os.getuid()}"

    assert read("graph_12") is None
    assert cache_directory() == place / digest()
    (line,) = troubles()
    assert line.endswith(": compiled code there is not used: others may write it (mode 777)")


def test_a_directory_of_another_user_is_not_used(chosen, monkeypatch):
    keep("graph_12", b"theirs")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    assert read("graph_12") is None
    assert any("it belongs to another user" in line for line in troubles())


def test_a_place_in_a_sticky_directory_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TDX_STRESS_CACHE", str(tmp_path / "sticky"))
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    keep("graph_12", b"code")

    assert cache_directory() == kept_in(tmp_path / "sticky")
    assert (kept_in(tmp_path / "sticky").stat().st_mode & 0o777, read("graph_12")) == (0o700, b"code")


def test_where_one_place_is_full_the_other_takes_it(chosen, monkeypatch, tmp_path):
    real = cache.write_whole

    def full(path, content, mode):
        if path.is_relative_to(chosen):
            raise OSError(28, "No space left on device")
        real(path, content, mode)

    monkeypatch.setattr(cache, "write_whole", full)
    keep("graph_12", b"code")

    (taken,) = tmp_path.glob("temporary/*/*/graph_12.code")
    said = f"{kept_in(chosen)}: compiled code cannot be kept: no space left on device; it is in {taken.parent} instead"
    assert (read("graph_12"), troubles()) == (b"code", [said])


def test_where_no_place_takes_it_there_is_a_line_and_nothing_is_left(chosen, monkeypatch):
    def full(handle, content):
        raise OSError(28, "No space left on device")

    cache_directory()
    monkeypatch.setattr(os, "write", full)
    keep("graph_12", b"code")
    keep("walk_12", b"code")

    (line,) = troubles()
    assert line.endswith(": compiled code cannot be kept: no space left on device")
    assert list(kept_in(chosen).iterdir()) == []


def test_no_place_for_a_cache_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TDX_STRESS_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))

    keep("graph_12", b"code")
    assert (cache_directory(), read("graph_12")) == (None, None)
    assert len(troubles()) >= 1


def test_whoever_looks_counts_what_is_whole_and_what_was_damaged(chosen):
    keep("graph_12", b"code")
    keep("walk_12", b"more code")
    file = kept_in(chosen) / "walk_12.code"
    file.write_bytes(file.read_bytes()[:-1])
    found = look()

    assert (found.directory, found.files, found.bytes, found.damaged) == (kept_in(chosen), 1, 4, 1)
    assert look().damaged == 0


@pytest.mark.parametrize(("name", "below"), [("XDG_CACHE_HOME", "tdx-stress"), ("HOME", ".cache/tdx-stress")])
def test_the_cache_is_in_the_cache_or_the_home_of_the_user(monkeypatch, tmp_path, name, below):
    for one in ("TDX_STRESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, str(tmp_path))

    assert cache_directory() == tmp_path / below / digest()


def test_a_user_without_a_home_gets_a_temporary_cache(monkeypatch, tmp_path):
    import pwd

    def nobody(uid):
        raise KeyError(uid)

    for name in ("TDX_STRESS_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)

    place = cache_directory()
    assert place is not None
    assert place.is_relative_to(tmp_path / "temporary")
