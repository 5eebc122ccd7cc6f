"""Settings of the figures: those of the paper, and versions that take hours or minutes on 2 CPU cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reproduction import Version


@dataclass(frozen=True)
class Effort:
    """Settings of one version of a figure.

    Attributes
    ----------
    potential
        Potential spec.
    """

    potential: PotentialSpec


@dataclass(frozen=True)
class DynamicsEffort(Effort):
    """Settings of a figure that needs molecular dynamics.

    Attributes
    ----------
    supercells
        Repeats of the unit cell of each crystal.
    temperatures_K
        Temperatures (K).
    timestep_fs
        Time step (fs).
    n_repeats, n_cell_steps, n_equilibration_steps, n_sampling_steps, n_switching_steps
        Numbers of repeats and steps, see :class:`FrenkelLaddMaker`.
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
        """Return the numbers of repeats and steps with the given names, or all of them."""
        every = ("n_repeats", "n_cell_steps", "n_equilibration_steps", "n_sampling_steps", "n_switching_steps")
        return {name: getattr(self, name) for name in names or every}


@dataclass(frozen=True)
class LatticeEffort(Effort):
    """Settings of a figure of lattice parameters.

    Attributes
    ----------
    crystals
        Names in :data:`alchemflows.reproduce.mixed_crystals.MIXED_CRYSTALS`.
    n_intervals
        Number of intervals along an edge of a triangle of compositions, a multiple of 4; lines always have 8.
    n_random
        Number of random arrangements at each composition at which they are computed.
    """

    crystals: tuple[str, ...]
    n_intervals: int
    n_random: int


_PAPER = PotentialSpec(name="small")
_PAPER_STATIC = PotentialSpec(name="medium")
_DEMO = PotentialSpec(name="mace-demo", device="cpu")
_SEVENNET = PotentialSpec(name="sevennet-0", device="cpu")

_OFFLINE = ("(Ce,Sn)O2", "(Ce,Zr)O2", "(Li,Na,K)Cl")
#: Settings of Fig. 2. mace-demo does not support Bi and S.
FIG2: dict[Version, LatticeEffort] = {
    "paper": LatticeEffort(_PAPER_STATIC, (*_OFFLINE, "BiS(Cl,Br,I)"), n_intervals=12, n_random=8),
    "medium": LatticeEffort(_SEVENNET, (*_OFFLINE, "BiS(Cl,Br,I)"), n_intervals=12, n_random=3),
    "small": LatticeEffort(_DEMO, _OFFLINE, n_intervals=4, n_random=2),
}
#: Settings of Fig. 3.
FIG3: dict[Version, Effort] = {
    "paper": Effort(_PAPER_STATIC),
    "medium": Effort(_SEVENNET),
    "small": Effort(_DEMO),
}
#: Settings of Fig. 4.
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
#: Settings of Fig. 5.
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
        {"iron": (2, 2, 2)},
        (100.0,),
        timestep_fs=5.0,
        n_repeats=3,
        n_cell_steps=600,
        n_equilibration_steps=150,
        n_sampling_steps=200,
        n_switching_steps=450,
    ),
}
