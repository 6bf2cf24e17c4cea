"""What the READMEs show is what the program printed, and what they point to is there."""

import re
from pathlib import Path

import pytest

from results.reference.make import BLOCK, HERE, READMES, ROOT, SHOWN, filled, part_of

TEXTS = {readme.relative_to(ROOT).as_posix(): readme.read_text() for readme in READMES}
FENCE = re.compile(r"^ *```(.*)$", re.M)
TYPED = ("sh", "yaml", "toml", "python")
FRONT_BYTES, ROOM_BYTES = 14_500, 20_000
PRINTED = "$ tdx-stress list\n# 1 CPU\none\ntwo\nthree\nfour\n"


def words_of(text: str) -> str:
    """A README without its blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)


def anchor(heading: str) -> str:
    """The id that a heading gets where a README is shown."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("readme", TEXTS)
def test_every_block_of_output_is_what_its_source_holds(readme: str) -> None:
    assert filled(TEXTS[readme]) == TEXTS[readme], "python results/reference/make.py --fill"


@pytest.mark.parametrize("readme", TEXTS)
def test_every_ratio_that_is_told_with_its_interval_was_printed(readme: str) -> None:
    printed = "".join(path.read_text() for path in HERE.glob("*.txt"))
    told = re.findall(r"(\d[\d.,]*x) \(([\d.,]+-[\d.,]+)\)", words_of(TEXTS[readme]))

    assert [f"{ratio} ({ends}" for ratio, ends in told if f"{ratio} ({ends}," not in printed] == []


@pytest.mark.parametrize("readme", TEXTS)
def test_no_block_stands_without_a_source_unless_a_reader_is_to_type_it(readme: str) -> None:
    opened = [info for info in FENCE.findall(TEXTS[readme])[::2] if info not in TYPED]

    assert opened == ["text"] * len(BLOCK.findall(TEXTS[readme]))


@pytest.mark.parametrize("name", SHOWN)
def test_a_source_names_its_command_which_a_readme_names_too(name: str) -> None:
    command, made = (HERE / f"{name}.txt").read_text().splitlines()[:2]

    assert command == f"$ {SHOWN[name].command}"
    assert re.match(r"# tdx-stress \S+, commit \S+; \d+ CPUs", made)
    assert any(f"`{SHOWN[name].command}`" in words_of(text) or f"{command}\n" in text for text in TEXTS.values())


def test_every_source_and_every_picture_is_made_and_shown() -> None:
    shown = {block[1] for text in TEXTS.values() for block in BLOCK.finditer(text)}
    pictures = {name for one in SHOWN.values() for name in one.kept if name.endswith(".png")}

    assert shown == set(SHOWN) == {path.stem for path in HERE.glob("*.txt")}
    assert pictures == {path.relative_to(HERE).as_posix() for path in HERE.rglob("*.png")}
    assert all(any(f"{picture.removeprefix('answer/')})" in text for text in TEXTS.values()) for picture in pictures)


@pytest.mark.parametrize("name", SHOWN)
def test_a_source_names_no_place_of_the_machine_that_made_it(name: str) -> None:
    text = (HERE / f"{name}.txt").read_text()

    assert str(ROOT) not in text
    assert not re.search(r"/(tmp|home)/|runs/\d{8}T", text)


@pytest.mark.parametrize("readme", TEXTS)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(readme: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", words_of(TEXTS[readme])):
        path, _, heading = target.partition("#")
        file = ((ROOT / readme).parent / path).resolve() if path else ROOT / readme
        if heading:
            file = file / "README.md" if file.is_dir() else file
            headings = re.findall(r"^#+ (.*)$", words_of(file.read_text()), re.M)
            assert heading in map(anchor, headings), target
        assert file.exists(), target


@pytest.mark.parametrize("readme", TEXTS)
def test_every_file_of_ours_that_is_named_is_there(readme: str) -> None:
    named = re.findall(r"`((?:kernels|scenarios|stress|results)/[\w./-]*)`", TEXTS[readme])

    assert [name for name in named if not Path(ROOT, name).exists()] == []


@pytest.mark.parametrize("readme", TEXTS)
def test_a_readme_can_be_read_in_one_sitting(readme: str) -> None:
    assert len(TEXTS[readme].encode()) <= (FRONT_BYTES if readme == "README.md" else ROOM_BYTES)


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ("", PRINTED),
        (' "$ "', "$ tdx-stress list\n"),
        (' "one" to "three"', "one\ntwo\nthree\n"),
        (' "$ " to "# ", "one"', "$ tdx-stress list\n# 1 CPU\none\n"),
        (' "$ ", "two", "four"', "$ tdx-stress list\n[...]\ntwo\n[...]\nfour\n"),
        (' "o"', "one\n"),
    ],
)
def test_a_part_is_told_by_words_of_its_first_and_last_line(parts: str, shown: str) -> None:
    assert part_of(PRINTED, parts) == shown


@pytest.mark.parametrize("parts", [' "five"', ' "two", "one"', ' "three" to "two"'])
def test_a_part_that_is_not_there_is_an_error(parts: str) -> None:
    with pytest.raises(ValueError, match="no line holds"):
        part_of(PRINTED, parts)
