"""What a reader without a browser finds in a page."""

import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser

SPACE = re.compile(r"\s+")
VOID = {"meta", "link", "br", "hr", "img", "input"}
RUNS = {"script", "iframe", "img", "object", "embed", "form"}
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

    @property
    def troubles(self) -> list[str]:
        """What a page is not to have: tags not closed in order, an id that stands twice, a reference that leads
        nowhere, and whatever loads or runs something.
        """
        twice = [one for one, times in Counter(self.ids).items() if times > 1]
        leads = [one for one in self.addresses if one != "data:," and not (one[:1] == "#" and one[1:] in self.ids)]
        return [*self.open, *self.mismatched, *twice, *leads, *(tag for tag in self.tags if tag in RUNS)]

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
