"""How a straight line is compiled: bare, or with what a run asks for built in. What is off is not there at all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variant:
    """`perturbed`: before each labelled step the actor looks whether it loses its CPU, with the odds that the tally
    holds for the step's site, and whether the step is declared to take a time. `traced`: behind each labelled step it
    keeps the step in its ring (`kernels/race/trace.py`).
    """

    perturbed: bool = False
    traced: bool = False

    @property
    def suffix(self) -> str:
        """Names the variant's files in the cache: nothing where it is bare."""
        return "_perturbed" * self.perturbed + "_traced" * self.traced


BARE = Variant()
