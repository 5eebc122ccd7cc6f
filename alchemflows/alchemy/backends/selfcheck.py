"""Compare an optimized potential with the original, and the original with the calculator of its library.

The comparison runs at the first evaluation of a potential, on its device and in its dtype, once for each file, set of
elements, and versions of the libraries (see :mod:`~alchemflows.alchemy.backends.check_records`). It does not run when
flows are made. The test system is a small random crystal with all elements in use, some of them on alchemical sites.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends.check_records import describe, is_recorded, record
from alchemflows.alchemy.potential import AlchemicalPotential, Backend
from alchemflows.alchemy.system import AlchemicalSystem, SiteGroup
from alchemflows.errors import AlchemflowsWarning, PotentialError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tolerance:
    """Largest relative differences that count as rounding.

    Attributes
    ----------
    energy
        For energies, relative to the larger of |E| and Σ|F| · 1 Å, and for weight gradients, relative to the largest.
    forces
        For forces and stress, relative to their largest component.
    """

    energy: float
    forces: float

    def of(self, result: str) -> float:
        """Return the tolerance of a result (energy, forces, stress or weight_gradients)."""
        return self.forces if result in ("forces", "stress") else self.energy


#: The largest differences seen between optimized potential, original and calculator of the library (mace-demo,
#: SevenNet-0, and random models of all 25 MACE variants of the tests; CPU) are 3e-7 (energy) and 2e-5 (forces) in
#: float32, 1e-15 and 2e-14 in float64. A wrong normalisation of one module changes forces by 1e-2 and more.
TOLERANCES = {torch.float32: Tolerance(1e-5, 1e-3), torch.float64: Tolerance(1e-10, 1e-9)}

#: Test crystal: distance of neighbouring sites relative to the cutoff, its maximum (Å), and largest displacement (Å).
SPACING_IN_CUTOFFS, MAX_SPACING_A, RATTLE_A = 0.6, 3.0, 0.35

Results = Mapping[str, np.ndarray]

_lock = threading.RLock()
#: Comparisons of this process: reason not to use the optimized potential, or None if it is used, by digest.
_found: dict[str, str | None] = {}


class Plain(Backend, Protocol):
    """A backend that runs the original modules of a potential, some of which can be replaced by faster ones."""

    @property
    def replacements(self) -> tuple[str, ...]:
        """Names of the possible replacements, in the order in which they are made."""
        ...

    def fast(self, numbers: frozenset[int], replacements: Sequence[str]) -> Backend:
        """Return the potential for some elements, with some of the replacements."""
        ...

    def library_calculator(self) -> Calculator | None:
        """Return the library's own ASE calculator of the potential; None if the library is not installed."""
        ...


def fastest(plain: Plain, numbers: frozenset[int]) -> Backend:
    """Return the optimized potential for some elements, or the original one if their results differ.

    Warns
    -----
    AlchemflowsWarning
        Once per process, if the results of the optimized potential differ; it names the replacement that causes this.

    Raises
    ------
    PotentialError
        If the results of the original potential differ from those of its library's calculator; or if other kernels
        were requested, and they cannot be used or give different results.
    """
    facts = describe(plain, numbers)
    with _lock:
        if facts.digest not in _found and is_recorded(facts):
            _found[facts.digest] = None
        if facts.digest in _found:
            return plain if _found[facts.digest] else plain.fast(numbers, plain.replacements)
        check = _Comparison(plain, numbers)
        check.with_library()
        fast, fault = check.fast_form(plain.replacements)
        if fast is not None:
            _found[facts.digest] = None
            record(facts)
            return fast
        name, culprit = plain.record.name, check.first_fault()
        message = f"{name}: {culprit} and the original modules of the potential give different results ({fault})"
        if plain.record.kernels != "built-in":
            raise PotentialError(f"{message}; use built-in kernels")
        _found[facts.digest] = message
    warnings.warn(
        f"{message}. The original modules are used instead, which is slower",
        AlchemflowsWarning,
        stacklevel=2,
    )
    return plain


def random_system(cutoff_A: float, numbers: Sequence[int]) -> AlchemicalSystem:
    """Return a small random crystal with all given elements and three alchemical sites in two groups.

    Parameters
    ----------
    cutoff_A
        Cutoff of the potential (Å), which determines the distances of the atoms.
    numbers
        Atomic numbers.
    """
    rng = np.random.default_rng(18)
    n = max(8, len(numbers))
    edge = int(np.ceil(round(n ** (1 / 3), 6)))
    spacing = min(SPACING_IN_CUTOFFS * cutoff_A, MAX_SPACING_A)
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = rng.permutation(grid)[:n] * spacing + rng.uniform(-RATTLE_A, RATTLE_A, (n, 3))
    cell = np.eye(3) * edge * spacing + rng.uniform(-RATTLE_A, RATTLE_A, (3, 3))
    elements = [numbers[k % len(numbers)] for k in range(n)]
    structure = Structure(Lattice(cell), [chemical_symbols[z] for z in elements], sites, coords_are_cartesian=True)
    first = (elements[0], elements[1])
    second = (elements[2], elements[3])
    pair = SiteGroup((0, 1), (first,) if first == second else (first, second))
    return AlchemicalSystem(structure, (pair, SiteGroup((2,), ((elements[2],),))))


def _weights(system: AlchemicalSystem) -> np.ndarray:
    """Return two sets of weights, shape (2, C): inside the simplex, and at a vertex with all sites occupied."""
    inside = [0.7] if system.n_weights == 2 else [0.5, 0.3]
    return np.array([[*inside, 0.6], [1.0, *([0.0] * (len(inside) - 1)), 1.0]])


class _AsItIs:
    """A backend without further optimization."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def specialised(self, _numbers: frozenset[int]) -> Backend:
        return self._backend


def _evaluate(backend: Backend, system: AlchemicalSystem) -> Results:
    """Return the results at both sets of weights; the first axis of each result runs over the sets."""
    potential = AlchemicalPotential(system, cast(Backend, _AsItIs(backend)))
    positions, cells = (np.tile(v, (2, 1, 1)) for v in (system.structure.cart_coords, system.structure.lattice.matrix))
    evaluation = potential.evaluate(positions, cells, _weights(system))
    return {
        name: getattr(evaluation, name).cpu().numpy() for name in ("energy", "forces", "stress", "weight_gradients")
    }


class _Comparison:
    """Comparison of the original and the optimized forms of one potential for some elements."""

    def __init__(self, plain: Plain, numbers: frozenset[int]) -> None:
        self.plain, self.numbers = plain, numbers
        self.system = random_system(plain.cutoff_A, sorted(numbers))
        self.expected = _evaluate(plain, self.system)

    def with_library(self) -> None:
        """Compare the original potential with its library's calculator, for the structure at the vertex.

        If the library is not needed and not installed, nothing is compared.

        Raises
        ------
        PotentialError
            If results differ, or the calculator cannot be used.
        """
        library, name = self.plain.record.backend, self.plain.record.name
        atoms = self.system.at_vertex(_weights(self.system)[1]).to_ase_atoms()
        try:
            atoms.calc = self.plain.library_calculator()
            if atoms.calc is None:
                logger.info("%s is not compared with %s, of which no suitable release is installed", name, library)
                return
            expected = {
                "energy": np.array([atoms.get_potential_energy()]),
                "forces": atoms.get_forces()[None],
                "stress": atoms.get_stress(voigt=False)[None],
            }
        except Exception as error:  # a calculator of another version may raise any error
            raise PotentialError(
                f"{name} cannot be compared with {library}'s own calculator: {type(error).__name__}: {error}"
            ) from error
        single = expected["forces"].dtype == np.float32  # sevenn's calculator always computes in float32
        tolerance = TOLERANCES[torch.float32 if single else self.plain.dtype]
        different = _difference({key: self.expected[key][1:] for key in expected}, expected, tolerance)
        if different:
            raise PotentialError(
                f"{name}: results differ from those of {library}'s own calculator ({different}). The installed version "
                f"of {library} may have energy terms that alchemflows does not support; install a tested version "
                "(constraints.txt)"
            )

    def fast_form(self, replacements: Sequence[str]) -> tuple[Backend, None] | tuple[None, str]:
        """Return the potential with some replacements, or None and how its results differ from the original's."""
        try:
            fast = self.plain.fast(self.numbers, replacements)
            difference = _difference(_evaluate(fast, self.system), self.expected, TOLERANCES[self.plain.dtype])
        except PotentialError:
            raise
        except Exception as error:  # modules of another library version may lack attributes
            difference = f"{type(error).__name__}: {error}"
        return (fast, None) if difference is None else (None, difference)

    def first_fault(self) -> str:
        """Return the name of the first replacement that changes results."""
        replacements = self.plain.replacements
        for n in range(1, len(replacements)):
            if self.fast_form(replacements[:n])[0] is None:
                return replacements[n - 1]
        return replacements[-1]


def _difference(results: Results, expected: Results, tolerance: Tolerance) -> str | None:
    """Return the first result that differs by more than the tolerance, or None."""
    forces = expected["forces"]
    for key, reference in expected.items():
        scale = np.abs(reference).max(initial=0.0)
        if key == "energy":
            scale = max(scale, np.abs(forces).sum())
        difference = np.abs(results[key] - reference).max(initial=0.0)
        if not difference <= tolerance.of(key) * scale:
            return f"{key}: relative difference {difference / scale if scale else difference:.1e}"
    return None
