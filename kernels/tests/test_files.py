"""What is read of a file that a user names, and how a file is written."""

import os
import stat

import pytest

from kernels import files
from kernels.files import Unreadable, contents, in_units, write_whole


def test_a_file_is_read_up_to_its_bound(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")

    assert contents(tmp_path / "file", 5, "a witness") == b"12345"
    with pytest.raises(Unreadable, match=r"file: expected a witness of at most 4 bytes, found more$"):
        contents(tmp_path / "file", 4, "a witness")


def test_a_device_that_never_ends_is_refused_with_the_bound(tmp_path):
    with pytest.raises(Unreadable, match=r"^/dev/zero: expected a witness of at most 2 MiB, found more$"):
        contents(files.Path("/dev/zero"), 2 << 20, "a witness")


def test_a_pipe_that_nobody_writes_is_refused_with_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "WAIT_S", 0.02)
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(Unreadable, match=r"pipe: expected a witness within 0\.02 s, found no end of it$"):
        contents(tmp_path / "pipe", 5, "a witness")


def test_a_pipe_with_a_writer_is_read_to_its_end():
    read, write = os.pipe()
    os.write(write, b"text")
    os.close(write)

    assert contents(files.Path(f"/proc/self/fd/{read}"), 5, "a TOML file", "the pipe") == b"text"
    os.close(read)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "expected a witness, found no such file") for name in ("missing", "file/below", "nul\0byte")),
        ("", "expected a witness, found a directory"),
        ("loop", "loop: cannot be read: too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_said_in_one_line(tmp_path, name, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(Unreadable, match=f"{said}$"):
        contents(tmp_path / name, 5, "a witness")


def test_a_file_is_written_whole_in_the_place_of_another(tmp_path):
    (tmp_path / "file").write_bytes(b"before")
    write_whole(tmp_path / "file", b"after", 0o600)

    assert (tmp_path / "file").read_bytes() == b"after"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_a_file_cannot_be_written_the_one_before_stands_and_nothing_is_left(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"after")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_where_files_without_a_name_are_not_known_a_temporary_one_is_written(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    write_whole(tmp_path / "file", b"after")

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"after")]


def test_a_file_without_a_name_is_written_and_read_by_its_path():
    with files.nameless(b"before") as path:
        assert path.read_bytes() == b"before"
        path.write_bytes(b"after")
        assert path.read_bytes() == b"after"
    assert not path.exists()


def test_bytes_are_said_as_people_write_them():
    assert [in_units(size) for size in (5, 2048, 64 << 20, 3 << 29)] == ["5 bytes", "2 KiB", "64 MiB", "1.5 GiB"]
