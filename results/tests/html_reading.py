"""What a reader without a browser finds in a page."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

SPACE = re.compile(r"\s+")
VOID = {"meta", "link", "br", "hr", "img", "input"}
ADDRESSES = {"href", "src", "srcset", "action", "data", "xlink:href", "poster"}


class Read(HTMLParser):
    """What a reader without a browser finds: the text, the tags, the addresses, the ids; unclosed tags in `open`."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.mismatched: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.text = SPACE.sub(" ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)
