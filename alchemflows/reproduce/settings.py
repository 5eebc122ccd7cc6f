"""Potential, cells and lengths: the paper's, and a small version for 2 CPU cores and a few minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alchemflows.schemas.potential import PotentialSpec


@dataclass(frozen=True)
class Effort:
    """How much is computed.

    Attributes
    ----------
    potential
        What to compute with.
    supercells
        Repeats of the cell of each crystal.
    temperatures_K
        Temperatures of the figure.
    timestep_fs
        Time step.
    n_repeats, n_cell_steps, n_equilibration_steps, n_sampling_steps, n_switching_steps
        As in :class:`FrenkelLaddMaker`.
    """

    potential: PotentialSpec | str
    supercells: dict[str, tuple[int, int, int]]
    temperatures_K: tuple[float, ...]
    timestep_fs: float = 2.0
    n_repeats: int = 4
    n_cell_steps: int = 30000
    n_equilibration_steps: int = 10000
    n_sampling_steps: int = 10000
    n_switching_steps: int = 30000

    def lengths(self, *names: str) -> dict[str, Any]:
        """Return the lengths of these names, or of all."""
        every = ("n_repeats", "n_cell_steps", "n_equilibration_steps", "n_sampling_steps", "n_switching_steps")
        return {name: getattr(self, name) for name in names or every}


_DEMO = PotentialSpec(name="mace-demo", device="cpu")

FIG4 = Effort("small", {"alpha": (6, 6, 6), "delta": (6, 3, 3)}, (300.0, 350.0, 400.0, 450.0, 500.0))
FIG4_SMALL = Effort(
    _DEMO,
    {"delta": (1, 2, 1)},
    (300.0,),
    timestep_fs=5.0,
    n_repeats=3,
    n_cell_steps=1200,
    n_equilibration_steps=300,
    n_sampling_steps=500,
    n_switching_steps=900,
)
FIG5 = Effort("small", {"iron": (5, 5, 5)}, (50.0, 100.0, 150.0, 200.0))
FIG5_SMALL = Effort(
    _DEMO,
    {"iron": (3, 3, 3)},
    (100.0,),
    timestep_fs=5.0,
    n_repeats=3,
    n_cell_steps=600,
    n_equilibration_steps=150,
    n_sampling_steps=200,
    n_switching_steps=450,
)
