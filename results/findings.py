"""What a check of the machine says: findings as data, and one judgement over all of them. Pure."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

Facts = Mapping[str, Any]


class Limits(Enum):
    """What a finding takes from a result, from nothing to everything."""

    nothing = "nothing"
    absolute = "absolute latency"
    latency = "latency"
    verdicts = "verdicts"
    everything = "everything"


FROM_BEST_TO_WORST = tuple(Limits)
SENTENCES = {
    Limits.nothing: "good for verdicts and for latency",
    Limits.absolute: "good for verdicts; latency only as ratios",
    Limits.latency: "good for verdicts; latency is mostly noise now",
    Limits.verdicts: "weak for verdicts: a wrong ordering may go unseen; no latency",
    Limits.everything: "not fit: no result is to be had or to be believed",
}


class Finding(NamedTuple):
    """One fact and what it means. `id` is stable, the rest is for people; `try_` is "" where there is nothing to do."""

    id: str
    what: str
    found: str
    means: str
    try_: str = ""
    limits: Limits = Limits.nothing

    def as_dict(self) -> dict[str, str]:
        """As `doctor --json` prints it."""
        told = {"id": self.id, "what": self.what, "found": self.found, "means": self.means, "try": self.try_}
        return {**told, "limits": self.limits.value}


class Judgement(NamedTuple):
    """What the machine is good for, and the findings, by their `what`, that keep it from being better."""

    limits: Limits
    because: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """`good for verdicts; latency only as ratios (hypervisor, frequency)`."""
        return SENTENCES[self.limits] + (f" ({', '.join(self.because)})" if self.because else "")

    def as_dict(self) -> dict[str, Any]:
        """As `doctor --json` prints it."""
        return {"limits": self.limits.value, "sentence": self.sentence, "because": list(self.because)}


def judge(findings: Sequence[Finding]) -> Judgement:
    """As good as the worst finding."""
    worst = max((finding.limits for finding in findings), key=FROM_BEST_TO_WORST.index, default=Limits.nothing)
    if worst is Limits.nothing:
        return Judgement(worst, ())
    return Judgement(worst, tuple(finding.what for finding in findings if finding.limits is worst))
