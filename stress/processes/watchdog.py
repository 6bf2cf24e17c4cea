"""Who has stopped moving: every actor must make progress within a limit, and the one that does not is named.

A zapper progresses when a shootdown is over, a vCPU when it enters the guest. At rest is who has finished, and a vCPU
in the guest that nobody asks to leave: it may read there for as long as it likes. Where an actor stands is its label in
the tally, which it stores before each step.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from kernels.layout import FINISHED, LABEL, Layout
from kernels.tdx.counters import ENTRIES, EXITS, SHOOTDOWNS
from stress.processes.placement import shown
from stress.processes.shared_words import Words

LabelText = Callable[[Layout, int], str]


def head_words(lay: Layout) -> NDArray[np.int64]:
    """Where each actor's tally starts: zappers first, for they are who waits, then vCPUs. Shape (zappers + vcpus,)."""
    zappers = lay.zapper_tally + lay.zapper_tally_stride * np.arange(lay.zappers, dtype=np.int64)
    vcpus = lay.vcpu_tally + lay.vcpu_tally_stride * np.arange(lay.vcpus, dtype=np.int64)
    return np.concatenate([zappers, vcpus])


def finished(words: Words, lay: Layout, count: int | None = None) -> bool:
    """Whether all actors have come to their end, or the first so many in `head_words`."""
    return bool(words[head_words(lay)[:count] + FINISHED].all())


def actor_names(lay: Layout, actors: Iterable[int]) -> str:
    """Actors by their place in `head_words`: `zapper 0, vcpu 1-3`."""
    who = list(actors)
    zappers = [i for i in who if i < lay.zappers]
    vcpus = [i - lay.zappers for i in who if i >= lay.zappers]
    return ", ".join(f"{kind} {shown(some)}" for kind, some in (("zapper", zappers), ("vcpu", vcpus)) if some)


def positions(words: Words, lay: Layout, label_text: LabelText) -> tuple[str, ...]:
    """Where every actor stands, one text a label: `vcpu 1-3 at flush_tlb: load_acquire gate
    (kernels/tdx/kvm/kick.py:88)`."""
    at: dict[str, list[int]] = defaultdict(list)
    for actor, head in enumerate(head_words(lay)):
        place = "its end" if words[head + FINISHED] else label_text(lay, int(words[head + LABEL]))
        at[place].append(actor)
    return tuple(f"{actor_names(lay, actors)} at {place}" for place, actors in at.items())


class Watchdog:
    """How long each actor has stood still. `rest_s`: how long a zapper may rest between two shootdowns by its rules."""

    def __init__(self, words: Words, lay: Layout, limit_s: float, rest_s: float = 0.0) -> None:
        self._words, self._lay = words, lay
        self._heads = head_words(lay)
        self._zappers = lay.zappers
        self._limits_s = np.full(len(self._heads), limit_s)
        self._limits_s[: lay.zappers] += rest_s
        self._still_s = np.zeros(len(self._heads))
        self._progress = self._count()

    def look(self, elapsed_s: float) -> tuple[int, ...]:
        """After this much more time: who has stood still for as long as the limit, by place in `head_words`.

        The caller counts only time in which the actors could have run: it may have been suspended with them.
        """
        now = self._count()
        well = (now != self._progress) | (self._words[self._heads + FINISHED] != 0)
        well[self._zappers :] |= self._undisturbed()
        self._still_s = np.where(well, 0.0, self._still_s + elapsed_s)
        self._progress = now
        return tuple(int(actor) for actor in np.flatnonzero(self._still_s >= self._limits_s))

    def _count(self) -> Words:
        zappers, vcpus = self._heads[: self._zappers], self._heads[self._zappers :]
        return np.concatenate([self._words[zappers + SHOOTDOWNS], self._words[vcpus + ENTRIES]])

    def _undisturbed(self) -> NDArray[np.bool_]:
        """Which vCPUs are in the guest with no IPI pending."""
        vcpus = self._heads[self._zappers :]
        inside = self._words[vcpus + ENTRIES] != self._words[vcpus + EXITS]
        ipis = self._lay.ipi + self._lay.vcpu_stride * np.arange(self._lay.vcpus)
        return inside & (self._words[ipis] == 0)
