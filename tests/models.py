"""Small random MACE models for the tests: one of every architecture that the package supports."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Collection, Iterable
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import mace  # noqa: F401  (before e3nn: it allows e3nn's own constants to load)
import numpy as np
import pytest
import torch
from e3nn import o3
from mace.modules import (
    MACE,
    RealAgnosticAttResidualInteractionBlock,
    RealAgnosticDensityInteractionBlock,
    RealAgnosticDensityResidualInteractionBlock,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    RealAgnosticResidualNonLinearInteractionBlock,
    ScaleShiftMACE,
)
from mace.modules.blocks import NonLinearBiasReadoutBlock
from pymatgen.core import Lattice, PeriodicSite, Structure

from alchemflows.alchemy.backends.precision import default_dtype
from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.system import AlchemicalSystem

# torch reads the same sources again for each module of a model that e3nn compiles; once takes a fifth off the time.
# The part of torch has no public name: seen in torch 2.13.0.
torch._jit_internal.get_type_hint_captures = functools.cache(torch._jit_internal.get_type_hint_captures)

#: Elements of every model, not in the order of their numbers: Pb, Cl, I, Cs, Sn.
NUMBERS = [82, 17, 53, 55, 50]
CUTOFF_A = 4.5

#: Options of the newest mace-torch that the oldest release which is supported lacks.
LATER_OPTIONS = {"use_edge_irreps_first", "keep_last_layer_irreps"}

#: Parameters of a model with weak forces and equal reference energies, so that neighbouring windows overlap.
GENTLE: dict[str, Any] = {
    "seed": 5,
    "atomic_inter_scale": 0.3,
    "correlation": 2,
    "atomic_energies": np.full(len(NUMBERS), -3.0),
}

_RESIDUAL = {
    "interaction_cls_first": RealAgnosticResidualInteractionBlock,
    "interaction_cls": RealAgnosticResidualInteractionBlock,
}
_DENSITY = {
    "interaction_cls_first": RealAgnosticDensityInteractionBlock,
    "interaction_cls": RealAgnosticDensityResidualInteractionBlock,
}
_NON_LINEAR = {
    "interaction_cls_first": RealAgnosticResidualNonLinearInteractionBlock,
    "interaction_cls": RealAgnosticResidualNonLinearInteractionBlock,
    "readout_cls": NonLinearBiasReadoutBlock,
    "radial_MLP": [12, 12],
}
_HEADS = {
    "heads": ["Default", "other"],
    "atomic_energies": np.random.default_rng(7).normal(-3, 1, (2, len(NUMBERS))),
    "atomic_inter_scale": [1.3, 0.7],
    "atomic_inter_shift": [0.2, -0.4],
}

#: What each variant changes; the first is the plain residual model.
VARIANTS: dict[str, dict[str, Any]] = {
    "residual": _RESIDUAL,
    "non-residual-first": _RESIDUAL | {"interaction_cls_first": RealAgnosticInteractionBlock},
    "non-residual": {
        "interaction_cls_first": RealAgnosticInteractionBlock,
        "interaction_cls": RealAgnosticInteractionBlock,
    },
    "density": _DENSITY,
    "density-residual": _DENSITY | {"interaction_cls_first": RealAgnosticDensityResidualInteractionBlock},
    "attention": {
        "interaction_cls_first": RealAgnosticResidualInteractionBlock,
        "interaction_cls": RealAgnosticAttResidualInteractionBlock,
    },
    "attention-first": {
        "interaction_cls_first": RealAgnosticAttResidualInteractionBlock,
        "interaction_cls": RealAgnosticAttResidualInteractionBlock,
    },
    "non-linear": _NON_LINEAR,
    # as the foundation models of 2025 have it
    "non-linear-cutoff": _NON_LINEAR
    | {"apply_cutoff": False, "edge_irreps": o3.Irreps("4x0e+4x1o"), "use_edge_irreps_first": True},
    "no-apply-cutoff": _RESIDUAL | {"apply_cutoff": False},
    "density-no-apply-cutoff": _DENSITY | {"apply_cutoff": False},
    "agnesi": _RESIDUAL | {"distance_transform": "Agnesi"},
    "soft": _RESIDUAL | {"distance_transform": "Soft"},
    "gaussian": _RESIDUAL | {"radial_type": "gaussian"},
    "zbl": _RESIDUAL | {"pair_repulsion": True},
    # as MACE-MP-0b
    "zbl-agnesi-density": _DENSITY | {"pair_repulsion": True, "distance_transform": "Agnesi"},
    "heads": _RESIDUAL | _HEADS,
    "heads-zbl-non-linear": _NON_LINEAR | _HEADS | {"pair_repulsion": True, "apply_cutoff": False},
    "agnostic-product": _RESIDUAL | {"use_agnostic_product": True},
    "last-readout-only": _RESIDUAL | {"use_last_readout_only": True},
    "one-layer": _RESIDUAL | {"num_interactions": 1},
    "three-layers": _RESIDUAL | {"num_interactions": 3, "hidden_irreps": o3.Irreps("4x0e+4x1o")},
    "so3": _RESIDUAL | {"use_so3": True, "hidden_irreps": o3.Irreps("8x0e+8x1e")},
    "keep-last-irreps": _RESIDUAL | {"keep_last_layer_irreps": True},
    "full-couplings": _RESIDUAL | {"use_reduced_cg": False},
    "scalars": _RESIDUAL | {"hidden_irreps": o3.Irreps("8x0e"), "correlation": 3},
}

#: Variants that between them have each kind of block, product and readout; the others take minutes, in CI.
CORE = ("attention", "zbl-agnesi-density", "heads-zbl-non-linear", "agnostic-product", "keep-last-irreps", "scalars")


def groups_and_couplings() -> list[Any]:
    """Return groups and couplings as parameters of a test: each once, and the other pairs marked as slow."""
    couplings = ("paired", "mean-field")
    return [
        pytest.param(groups, coupling, marks=[] if (g + c) % 2 == 0 else pytest.mark.slow)
        for g, groups in enumerate(GROUPS)
        for c, coupling in enumerate(couplings)
    ]


def variants(names: Iterable[str] = VARIANTS, core: Collection[str] = CORE) -> list[Any]:
    """Return variants as parameters of a test, those outside the core marked as slow."""
    return [name if name in core else pytest.param(name, marks=pytest.mark.slow) for name in names]


def build_mace(seed: int = 1, cls: type[torch.nn.Module] = ScaleShiftMACE, **changes: Any) -> torch.nn.Module:
    """Return a random model in float64 with an energy that depends strongly on elements and positions.

    Parameters
    ----------
    seed
        Of the weights.
    cls
        Class of the model.
    **changes
        Arguments of the class; :data:`VARIANTS` has useful ones. The test is skipped where mace-torch lacks one.
    """
    if lacking := LATER_OPTIONS & changes.keys() - inspect.signature(MACE).parameters.keys():
        pytest.skip(f"the installed mace-torch lacks {', '.join(lacking)}")
    arguments = {
        "r_max": CUTOFF_A,
        "num_bessel": 6,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "num_interactions": 2,
        "num_elements": len(NUMBERS),
        "hidden_irreps": o3.Irreps("8x0e+8x1o"),
        "MLP_irreps": o3.Irreps("8x0e"),
        "atomic_energies": np.random.default_rng(seed).normal(-3, 1, len(NUMBERS)),
        "avg_num_neighbors": 8.0,
        "atomic_numbers": NUMBERS,
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [16, 16],
        "radial_type": "bessel",
        "atomic_inter_scale": 1.3,
        "atomic_inter_shift": 0.2,
    } | changes
    if not issubclass(cls, ScaleShiftMACE):
        arguments = {k: v for k, v in arguments.items() if not k.startswith("atomic_inter_")}
    return deepcopy(_built(pickle.dumps((seed, cls, arguments))))


@functools.cache
def _built(pickled: bytes) -> torch.nn.Module:
    """Build a model from its pickled seed, class and arguments, once: e3nn compiles it, which takes 0.7 s."""
    seed, cls, arguments = pickle.loads(pickled)
    with default_dtype(torch.float64):
        torch.manual_seed(seed)
        model = cls(**arguments)
        for interaction in model.interactions:
            if isinstance(interaction, RealAgnosticResidualNonLinearInteractionBlock):
                # As initialised these would hardly matter: β = 0 switches the density off.
                torch.nn.init.uniform_(interaction.source_embedding.weight, -1, 1)
                torch.nn.init.uniform_(interaction.target_embedding.weight, -1, 1)
                interaction.alpha.data.fill_(3.0)
                interaction.beta.data.fill_(0.7)
    return model


def save_mace(path: Path, variant: str = "residual", **changes: Any) -> Path:
    """Write the model of a variant to a file and return its path."""
    torch.save(build_mace(**(VARIANTS[variant] | changes)), path)
    return path


def perovskite(lattice_parameter_A: float = 3.9, seed: int = 5) -> Structure:
    """Return 10 atoms of a squeezed, rattled, triclinic CsPbI3 (2×1×1 cells).

    Every atom sees its own periodic images along two axes within the cutoff of the models, and ions are close
    enough for the pair repulsion.
    """
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    structure = Structure(Lattice.cubic(lattice_parameter_A), ["Cs", "Pb", "I", "I", "I"], sites)
    structure = Structure.from_sites([site for image in (0, 1) for site in _shifted(structure, image)])
    rng = np.random.default_rng(seed)
    strain = np.eye(3) + rng.normal(0, 0.03, (3, 3))
    rattled = structure.cart_coords @ strain + rng.normal(0, 0.12, (10, 3))
    return Structure(structure.lattice.matrix @ strain, structure.species, rattled, coords_are_cartesian=True)


def _shifted(structure: Structure, image: int) -> list[PeriodicSite]:
    doubled = Lattice(structure.lattice.matrix * [[2], [1], [1]])
    shift = image * structure.lattice.matrix[0]
    return [PeriodicSite(s.specie, s.coords + shift, doubled, coords_are_cartesian=True) for s in structure]


CL, SN, IODINE, CS, PB = 17, 50, 53, 55, 82

#: Site groups of :func:`perovskite` (Cs 0, 5; Pb 1, 6; the others I).
#: Weights that sum to less than 1 are vacancies.
GROUPS: dict[str, tuple[SiteGroup, ...]] = {
    "one group": (SiteGroup((1, 6), ((PB, PB), (SN, SN))),),
    "several groups": (
        SiteGroup((6, 1), ((PB, PB), (SN, SN))),
        SiteGroup((2, 8, 9), ((IODINE, IODINE, IODINE), (CL, CL, CL))),
        SiteGroup((5,), ((CS,),)),
    ),
    "site resolved": (
        SiteGroup((1,), ((PB,), (SN,))),
        SiteGroup((6,), ((PB,), (SN,))),
        SiteGroup((3,), ((IODINE,), (CL,), (SN,))),
    ),
    "unlike elements": (SiteGroup((2, 1, 5), ((IODINE, PB, CS), (CL, SN, PB), (PB, IODINE, CS))),),
}


def perovskite_system(
    groups: str = "several groups", coupling: str = "paired", lattice_parameter_A: float = 3.9
) -> AlchemicalSystem:
    """Return :func:`perovskite` with one of the :data:`GROUPS`."""
    return AlchemicalSystem(perovskite(lattice_parameter_A), GROUPS[groups], coupling)


def vertices(system: AlchemicalSystem) -> np.ndarray:
    """Every vertex of the simplex: one channel or none in each group; shape (V, C)."""
    blocks = [np.vstack([np.eye(n), np.zeros(n)]) for n in (len(g.channels) for g in system.groups)]
    return np.array([np.concatenate(choice) for choice in product(*blocks)])


def interior(system: AlchemicalSystem, seed: int = 0, n: int | None = None) -> np.ndarray:
    """Random weights inside the simplex with some vacancy, shape (C,) or (n, C)."""
    rng = np.random.default_rng(seed)
    rows = [
        np.concatenate([rng.dirichlet(np.ones(len(g.channels) + 1))[:-1] * 0.96 + 0.01 for g in system.groups])
        for _ in range(n or 1)
    ]
    return np.array(rows) if n else rows[0]
