"""The flow that computes the free energy of mixing of two elements on the sites of a crystal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.arrangements import SampledArrangementsMaker
from alchemflows.jobs.inputs import failing_onwards
from alchemflows.jobs.mixing import MixingSamplesMaker

#: Smallest number of chemical potentials, with which neighbours may overlap.
MIN_POTENTIALS = 3


@dataclass
class MixingMaker(SampledArrangementsMaker):
    """Compute the free energy of mixing of two elements on the sites of a crystal, and its phase diagram.

    Arrangements are sampled at several chemical potentials Δμ and temperatures (semi-grand ensemble), which exchange
    their replicas. MBAR combines all samples to the free energy at each composition of the supercell. See
    :class:`SampledArrangementsMaker` for the other parameters.

    Parameters
    ----------
    n_potentials
        Number of chemical potentials at each temperature.

        They are evenly spaced over the range in which the crystal changes from one pure composition to the other.
    n_production_sweeps
        Number of sweeps with a sample each.
    replica_exchange
        Whether neighbouring chemical potentials and temperatures exchange replicas after each sweep.
    n_terms
        Number of Redlich–Kister terms; none for the smallest that describes the result.
    relax_maker
        Relaxation of positions and cell of the alchemical crystal with equal shares, the start of all replicas.

        With None they start from the given structure.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import MixingMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> flow = MixingMaker(potential="mace-demo").make(salt, {"Na": ["Na", "K"]}, (2, 1, 1), [600.0, 800.0])
    >>> [job.name for job in flow.jobs]
    ['relax mean-field', 'mixing']
    """

    name: str = "mixing"
    n_potentials: int = 16
    n_production_sweeps: int = 400
    n_terms: int | None = None

    @checked
    def make(
        self,
        structure: Structure,
        choices: Mapping[str, Sequence[str]],
        supercell: Sequence[int],
        temperatures: Sequence[float],
        *,
        delta_mu_eV: Sequence[float] = (),
    ) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.mixing.MixingDocument`.

        Parameters
        ----------
        structure
            Ordered structure.
        choices
            The element on the mixing sites and the two elements that mix there, such as ``{"Na": ["Na", "K"]}``; x is
            the fraction of the second one.
        supercell
            Repeats of the structure along a, b, c.
        temperatures
            Temperatures (K). A consolute point needs at least two.
        delta_mu_eV
            Chemical potentials of the second element minus that of the first (eV), instead of `n_potentials` of them.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a choice, a number or the potential is invalid.
        """
        n_potentials = len(set(delta_mu_eV)) if delta_mu_eV else self.n_potentials
        if n_potentials < MIN_POTENTIALS or (delta_mu_eV and n_potentials < len(delta_mu_eV)):
            raise InvalidInputError(
                f"n_potentials, or the number of different delta_mu_eV, must be at least {MIN_POTENTIALS}; "
                f"got {list(delta_mu_eV) or self.n_potentials}"
            )
        if self.n_terms is not None and self.n_terms < 1:
            raise InvalidInputError(f"n_terms must be at least 1; got {self.n_terms}")
        disorder, second = _disordered(structure, choices, supercell)
        settings = self.sweep_settings(disorder, temperatures)
        potential = self.checked_potential(disorder.system)
        jobs, start = self.relaxed(disorder, potential)
        sampling = MixingSamplesMaker(
            potential=potential,
            settings=settings,
            temperatures_K=sorted(map(float, temperatures)),
            n_potentials=self.n_potentials,
            delta_mu_eV=sorted(map(float, delta_mu_eV)),
            n_terms=self.n_terms,
            seed=self.seed,
            n_frames=self.n_frames,
        ).make(disorder, second, start)
        name = f"{self.name} {disorder.system.formula(disorder.weights)}"
        return failing_onwards(Flow(self.categorised([*jobs, sampling]), output=sampling.output, name=name))


def _disordered(
    structure: Structure, choices: Mapping[str, Sequence[str]], supercell: Sequence[int]
) -> tuple[Disorder, str]:
    """Return the crystal with equal shares of both elements, and the symbol of the second."""
    if len(choices) != 1 or any(len(set(symbols)) != 2 or len(symbols) != 2 for symbols in choices.values()):
        raise InvalidInputError(
            f"choices: a free energy of mixing is that of two elements on the sites of one, such as "
            f"{{'Na': ['Na', 'K']}}; got {dict(choices)}"
        )
    ((element, symbols),) = choices.items()
    present = {site.symbol for site in structure.composition.elements}
    if not structure.is_ordered or element not in present:
        raise InvalidInputError(
            f"structure: it must be ordered and contain {element}; got {structure.composition.formula}"
        )
    mixed = structure.copy()
    mixed.remove_oxidation_states()
    mixed.replace_species({element: dict.fromkeys(symbols, 0.5)})
    return Disorder(mixed, supercell, rounded=True), symbols[1]
