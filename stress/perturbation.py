"""Declared yields: at a label of the kernels an actor gives its CPU away, with the probability that a scenario says."""

import difflib
from collections.abc import Mapping, Sequence

from kernels.layout import Layout
from stress.errors import UsageFault
from stress.memory import Words

CERTAIN = 1 << 16


def site_numbers(yields: Mapping[str, float], names: Sequence[str]) -> dict[int, float]:
    """Each declared label's site in the kernels, with its probability. `names[site]` is a site's label.

    Raises UsageFault for a label that no site has, with the nearest one.
    """
    sites: dict[int, float] = {}
    for label, probability in yields.items():
        found = [site for site, name in enumerate(names) if name == label]
        if not found:
            near = difflib.get_close_matches(label, names, n=1, cutoff=0.4)
            hint = f'did you mean "{near[0]}"?' if near else f'they look like "{next(filter(None, names))}"'
            raise UsageFault(f'yields: unknown label "{label}"; {hint}')
        sites.update(dict.fromkeys(found, probability))
    return sites


def declare(words: Words, lay: Layout, sites: Mapping[int, float]) -> None:
    """Write the probabilities where the kernels look for them."""
    for site, probability in sites.items():
        words[lay.perturb + site] = round(probability * CERTAIN)
