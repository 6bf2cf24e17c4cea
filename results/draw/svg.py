"""Panels as SVG elements inside a page: text stays text, ids do not clash, colours follow the reader's light or dark.

Every colour becomes a custom property of CSS named after it, `var(--c0072b2, #0072b2)`; the page's dark style sheet
says what it is there (`DARK`). Nothing in an element points outside of it.
"""

import io
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from results.draw.style import PARAMETERS, Style

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# What a light page's colours are on a dark one: the same hues, lighter, so that lines and areas stand out as much.
DARK = {
    "#000000": "#eceff3", "#ffffff": "#15181d", "#0072b2": "#4a9fe0", "#d55e00": "#f5824a", "#009e73": "#2fc79b",
    "#cc79a7": "#e39ac2", "#e69f00": "#f0b429", "#56b4e9": "#a6dafc", "#dddddd": "#343a43", "#f5f5f5": "#1d2229",
    "#e4e4e4": "#2b313a", "#777777": "#9aa3ae", "#444444": "#b6bdc7", "#555555": "#a9b1bc", "#b00020": "#ff7080",
    "#d9d9d9": "#676e79", "#22325f": "#7f96e0", "#7a5b8e": "#b493cb",
}  # fmt: skip
_COLOUR, _REFERENCE = re.compile(r"#[0-9a-f]{6}\b", re.IGNORECASE), re.compile(r"url\(#([^)]+)\)")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_LONG_NUMBER, _FAMILY = re.compile(r"(\.\d\d)\d+"), re.compile(r"font-family: [^;]*;? ?")
TRANSPARENT = {"figure.facecolor": "none", "axes.facecolor": "none"}
_PARAMETERS = {**PARAMETERS, "svg.fonttype": "none", "font.size": 10, **TRANSPARENT}
WIDTH_IN, HEIGHT_IN = 5.4, 3.7


def panel(
    name: str,
    title: str,
    draw: Callable[[Any], None],
    *,
    width_in: float = WIDTH_IN,
    height_in: float = HEIGHT_IN,
    left_in: float = 0.85,
    right_in: float = 0.2,
) -> str:
    """One panel as an SVG element: `draw` gets its axes; `title` is what a screen reader says. `name` is its own."""

    def subplots(figure: Figure) -> None:
        bottom, top = 0.62 / height_in, 1 - 0.36 / height_in
        draw(figure.add_axes((left_in / width_in, bottom, 1 - (left_in + right_in) / width_in, top - bottom)))

    return element(name, title, subplots, height_in, width_in)


def element(name: str, title: str, draw: Callable[[Figure], None], height_in: float, width_in: float = WIDTH_IN) -> str:
    """A whole figure as an SVG element, as wide as the page lets it be."""
    with style.context(["default", _PARAMETERS]):
        figure = Figure(figsize=(width_in, height_in))
        draw(figure)
        drawn = io.StringIO()
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})  # `savefig` draws twice
    # A text may be of some file, and hold what no XML does.
    return _embedded(_NO_XML.sub("\ufffd", drawn.getvalue()), name, _NO_XML.sub("\ufffd", title))


def _embedded(document: str, name: str, title: str) -> str:
    """The SVG without what only a file of its own needs."""
    root = ElementTree.fromstring(document)
    _drop_for_a_file_alone(root)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": title, "class": "plot"}
    for part in root.iter():
        part.tag = part.tag.rpartition("}")[2]
        if (own := part.attrib.pop("id", None)) is not None:
            part.set("id", f"{name}-{own}")
        if (target := part.attrib.pop(f"{{{XLINK}}}href", None)) is not None:
            part.set("href", f"#{name}-{target.removeprefix('#')}")
        for key, value in part.attrib.items():
            part.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
        if "d" in part.attrib:
            part.set("d", _LONG_NUMBER.sub(r"\1", " ".join(part.attrib["d"].split())))
        _restyle(part)
        if part.tag == "text" and "fill:" not in part.get("style", ""):
            part.set("style", f"{part.get('style', '')}; fill: currentColor".lstrip("; "))
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _drop_for_a_file_alone(root: ElementTree.Element) -> None:
    """Metadata, and the style sheet that would hold for the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)


def _restyle(part: ElementTree.Element) -> None:
    """Colours as custom properties, which only a style knows, and the page's font."""
    moved = [f"{key}: {part.attrib.pop(key)}" for key in ("fill", "stroke") if _COLOUR.match(part.get(key, ""))]
    if moved:
        part.set("style", "; ".join([*moved, part.get("style", "")]).rstrip("; "))
    if "style" in part.attrib:
        without_font = _FAMILY.sub("", part.attrib["style"])
        part.set("style", _COLOUR.sub(lambda found: coloured(found.group()), without_font))


def coloured(colour: str) -> str:
    """A colour as the custom property that a page may change."""
    low = colour.lower()
    return f"var(--c{low[1:]}, {low})" if low in DARK else low


def dark_properties() -> str:
    """The custom properties of a dark page, for its style sheet."""
    return " ".join(f"--c{light[1:]}: {dark};" for light, dark in DARK.items())


def sample(look: Style) -> str:
    """A short piece of an ordering's line with its marker, for a legend in the text."""
    colour = coloured(look.colour)
    lengths = " ".join(f"{2 * length:g}" for length in ("" if look.dash == "-" else look.dash[1]))
    dashes = f"; stroke-dasharray: {lengths}" * bool(lengths)
    return (
        '<svg class="sample" viewBox="0 0 40 14" aria-hidden="true">'
        f'<path d="M1 7H39" style="fill: none; stroke: {colour}; stroke-width: 2{dashes}"/>'
        f'<path d="{_marker(look.marker)}" style="fill: {colour}"/></svg>'
    )


def swatch(colour: str, hatch: str) -> str:
    """A piece of a bar in this colour, for a legend in the text; hatched where a hatch is named."""
    strokes = {"///": "M0 14L14 0M9 14L23 0M18 14L32 0", "\\\\": "M0 0L14 14M14 0L28 14"}.get(hatch, "")
    lines = f'<path d="{strokes}" style="stroke: {coloured("#ffffff")}; stroke-width: 1"/>' if strokes else ""
    area = f'<path d="M0 0H32V14H0Z" style="fill: {coloured(colour)}"/>'
    return f'<svg class="sample" viewBox="0 0 32 14" aria-hidden="true">{area}{lines}</svg>'


def _marker(name: str) -> str:
    """A marker of matplotlib as the data of an SVG path, 9 units wide, in the middle of a sample."""
    marker = MarkerStyle(name)
    path = marker.get_path().transformed(marker.get_transform())
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}
    data = []
    for points, code in path.iter_segments(curves=True):
        pairs = " ".join(f"{20 + 9 * x:.2f} {7 - 9 * y:.2f}" for x, y in points.reshape(-1, 2))
        data.append("Z" if code == Path.CLOSEPOLY else letters[code] + pairs)
    return "".join(data)
