"""Potential, cells and lengths: the paper's, and versions for 2 CPU cores and an hour or two, or a few minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reproduction import Version


@dataclass(frozen=True)
class Effort:
    """How much is computed.

    Attributes
    ----------
    potential
        What to compute with.
    """

    potential: PotentialSpec


@dataclass(frozen=True)
class DynamicsEffort(Effort):
    """How long molecular dynamics are.

    Attributes
    ----------
    supercells
        Repeats of the cell of each crystal.
    temperatures_K
        Temperatures of the figure.
    timestep_fs
        Time step.
    n_repeats, n_cell_steps, n_equilibration_steps, n_sampling_steps, n_switching_steps
        As in :class:`FrenkelLaddMaker`.
    """

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


@dataclass(frozen=True)
class LatticeEffort(Effort):
    """How many mixed crystals are relaxed.

    Attributes
    ----------
    crystals
        Names of :data:`alchemflows.reproduce.mixed_crystals.MIXED_CRYSTALS`.
    n_intervals
        Intervals of the grid of compositions along an edge, a multiple of 4; lines have 8 in any case.
    n_random
        Random arrangements of each composition at which there are any.
    """

    crystals: tuple[str, ...]
    n_intervals: int
    n_random: int


_PAPER = PotentialSpec(name="small")
_PAPER_STATIC = PotentialSpec(name="medium")
_DEMO = PotentialSpec(name="mace-demo", device="cpu")
_SEVENNET = PotentialSpec(name="sevennet-0", device="cpu")

_OFFLINE = ("(Ce,Sn)O2", "(Ce,Zr)O2", "(Li,Na,K)Cl")
#: Efforts of Fig. 2. Nothing with Bi and S is known to mace-demo.
FIG2: dict[Version, LatticeEffort] = {
    "paper": LatticeEffort(_PAPER_STATIC, (*_OFFLINE, "BiS(Cl,Br,I)"), n_intervals=12, n_random=8),
    "medium": LatticeEffort(_SEVENNET, (*_OFFLINE, "BiS(Cl,Br,I)"), n_intervals=12, n_random=3),
    "small": LatticeEffort(_DEMO, _OFFLINE, n_intervals=12, n_random=2),
}
#: Efforts of Fig. 3.
FIG3: dict[Version, Effort] = {
    "paper": Effort(_PAPER_STATIC),
    "medium": Effort(_SEVENNET),
    "small": Effort(_DEMO),
}
#: Efforts of Fig. 4.
FIG4: dict[Version, DynamicsEffort] = {
    "paper": DynamicsEffort(_PAPER, {"alpha": (6, 6, 6), "delta": (6, 3, 3)}, (300.0, 350.0, 400.0, 450.0, 500.0)),
    "medium": DynamicsEffort(
        _SEVENNET,
        {"delta": (1, 2, 1)},
        (300.0,),
        timestep_fs=5.0,
        n_repeats=3,
        n_cell_steps=1500,
        n_equilibration_steps=300,
        n_sampling_steps=600,
        n_switching_steps=2400,
    ),
    "small": DynamicsEffort(
        _DEMO,
        {"delta": (1, 2, 1)},
        (300.0,),
        timestep_fs=5.0,
        n_repeats=3,
        n_cell_steps=1200,
        n_equilibration_steps=300,
        n_sampling_steps=500,
        n_switching_steps=900,
    ),
}
#: Efforts of Fig. 5.
FIG5: dict[Version, DynamicsEffort] = {
    "paper": DynamicsEffort(_PAPER, {"iron": (5, 5, 5)}, (50.0, 100.0, 150.0, 200.0)),
    "medium": DynamicsEffort(
        _DEMO,
        {"iron": (3, 3, 3)},
        (100.0,),
        timestep_fs=5.0,
        n_repeats=4,
        n_cell_steps=3000,
        n_equilibration_steps=600,
        n_sampling_steps=1500,
        n_switching_steps=4000,
    ),
    "small": DynamicsEffort(
        _DEMO,
        {"iron": (3, 3, 3)},
        (100.0,),
        timestep_fs=5.0,
        n_repeats=3,
        n_cell_steps=600,
        n_equilibration_steps=150,
        n_sampling_steps=200,
        n_switching_steps=450,
    ),
}
