"""Flows that compute absolute free energies, and correct them to another potential."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jobflow import Flow, Maker
from pymatgen.core import Structure

from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.liquid import LiquidFreeEnergyMaker
from alchemflows.flows.melting import MeltingPointMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.state_correction import StateCorrectionMaker


@dataclass
class CorrectedStatesMaker(Maker):
    """Base of makers of flows that compute absolute free energies, and correct them to another potential.

    Parameters
    ----------
    name
        Name of the flow.
    correction_maker
        The correction, with its target.
    target_category
        FireWorks category of the job that evaluates the target, instead of that of `correction_maker`.

        A campaign gives all other jobs the same category.
    """

    name: str = "correction"
    correction_maker: StateCorrectionMaker = field(default_factory=StateCorrectionMaker)
    target_category: str | None = None

    def check(self, run: FrenkelLaddMaker | LiquidFreeEnergyMaker, structures: Iterable[Structure]) -> None:
        """Check that the flow will have frames that the target can evaluate, without loading a potential.

        Parameters
        ----------
        run
            Maker of the absolute free energies, whose runs store the frames.
        structures
            The structures.

        Raises
        ------
        InvalidInputError
            If no frames are stored, a structure has partial occupancies, or a field of the correction is invalid.
        """
        self.correction_maker.check()
        if run.n_frames < 1:
            raise InvalidInputError(f"n_frames must be at least 1, since frames are evaluated; got {run.n_frames}")
        if run.pressure_GPa is None:
            raise InvalidInputError("pressure_GPa: only runs at constant pressure have frames; got None")
        for structure in structures:
            if not structure.is_ordered:
                raise InvalidInputError(
                    f"structure: {structure.composition.reduced_formula} has partial occupancies, and only an "
                    "alchemical potential has an energy of a mixed crystal; a correction needs ordered structures"
                )

    def corrected(self, result: Flow, structures: Iterable[Structure]) -> Flow:
        """Return the flow of a result and of its correction, whose output is that of the whole.

        Parameters
        ----------
        result
            Flow whose output has absolute free energies.
        structures
            The structures, whose elements the target must support.

        Raises
        ------
        InvalidInputError, PotentialError
            If the target cannot be loaded or does not support an element.
        """
        elements = {element.Z for structure in structures for element in structure.composition.elements}
        category = self.target_category or self.correction_maker.category
        correction = replace(self.correction_maker, category=category).make(result.output, elements=sorted(elements))
        return Flow([result, correction], output=correction.output, name=f"{self.name}, {result.name}")


@dataclass
class CorrectedFrenkelLaddMaker(CorrectedStatesMaker):
    """Compute the absolute free energy of a crystal, and correct it to another potential.

    See :class:`CorrectedStatesMaker` for the other parameters.

    Parameters
    ----------
    frenkel_ladd_maker
        The absolute free energy, at constant pressure and with frames.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CorrectedFrenkelLaddMaker, FrenkelLaddMaker, PotentialSpec, StateCorrectionMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = CorrectedFrenkelLaddMaker(
    ...     frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo", temperature=400.0),
    ...     correction_maker=StateCorrectionMaker(target=PotentialSpec(name="mace-demo", dtype="float64")),
    ... )
    >>> [job.name for job, _ in maker.make(salt * (2, 2, 2)).iterflow()]
    ['alchemical relax', 'mean cell, 64 atoms', 'Frenkel–Ladd, 64 atoms', 'correction']
    """

    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)

    @checked
    def make(self, structure: Structure, *, n_primitive_cells: int | None = None) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.state_correction.StateCorrectionDocument`.

        Parameters
        ----------
        structure
            Ordered structure.
        n_primitive_cells
            Number of primitive cells in the structure; needed if a defect breaks its translational symmetry.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number or a potential is invalid, or no frames are stored.
        """
        self.check(self.frenkel_ladd_maker, [structure])
        result = self.frenkel_ladd_maker.make(structure, n_primitive_cells=n_primitive_cells)
        return self.corrected(result, [structure])


@dataclass
class CorrectedLiquidMaker(CorrectedStatesMaker):
    """Compute the absolute free energy of a liquid, and correct it to another potential.

    See :class:`CorrectedStatesMaker` for the other parameters.

    Parameters
    ----------
    liquid_maker
        The absolute free energy, at constant pressure and with frames.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CorrectedLiquidMaker, LiquidFreeEnergyMaker, PotentialSpec, StateCorrectionMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = CorrectedLiquidMaker(
    ...     liquid_maker=LiquidFreeEnergyMaker(potential="mace-demo", temperature=1200.0),
    ...     correction_maker=StateCorrectionMaker(target=PotentialSpec(name="mace-demo", dtype="float64")),
    ... )
    >>> [job.name for job, _ in maker.make(salt * (2, 2, 2)).iterflow()]
    ['melt', 'liquid', 'correction']
    """

    liquid_maker: LiquidFreeEnergyMaker = field(default_factory=LiquidFreeEnergyMaker)

    @checked
    def make(self, structure: Structure) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.state_correction.StateCorrectionDocument`.

        Parameters
        ----------
        structure
            An ordered crystal with the composition of the liquid.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number or a potential is invalid, or no frames are stored.
        """
        self.check(self.liquid_maker, [structure])
        return self.corrected(self.liquid_maker.make(structure), [structure])


@dataclass
class CorrectedMeltingPointMaker(CorrectedStatesMaker):
    """Compute the melting point of a crystal, and correct it to another potential.

    See :class:`CorrectedStatesMaker` for the other parameters.

    Parameters
    ----------
    melting_maker
        The melting point; its `frenkel_ladd_maker` must store frames.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CorrectedMeltingPointMaker, FrenkelLaddMaker, MeltingPointMaker
    >>> from alchemflows import PotentialSpec, StateCorrectionMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = CorrectedMeltingPointMaker(
    ...     melting_maker=MeltingPointMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo")),
    ...     correction_maker=StateCorrectionMaker(target=PotentialSpec(name="mace-demo", dtype="float64")),
    ... )
    >>> [job.name for job, _ in maker.make(salt * (2, 2, 2), [900.0, 1300.0]).iterflow()][-2:]
    ['melting point', 'correction']
    """

    melting_maker: MeltingPointMaker = field(default_factory=MeltingPointMaker)

    @checked
    def make(self, structure: Structure, temperatures: Sequence[float]) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.state_correction.StateCorrectionDocument`.

        Parameters
        ----------
        structure
            An ordered crystal.
        temperatures
            Lowest and highest temperature (K), between which both curves are computed; those in between are ignored.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number or a potential is invalid, or no frames are stored.
        """
        self.check(self.melting_maker.frenkel_ladd_maker, [structure])
        return self.corrected(self.melting_maker.make(structure, temperatures), [structure])


@dataclass
class CorrectedPhasesMaker(CorrectedStatesMaker):
    """Compute G(T) of several phases and their transitions, and correct these to another potential.

    See :class:`CorrectedStatesMaker` for the other parameters.

    Parameters
    ----------
    phases_maker
        The phases; their `frenkel_ladd_maker` must store frames.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CorrectedPhasesMaker, FrenkelLaddMaker, PhaseStabilityMaker
    >>> from alchemflows import PotentialSpec, StateCorrectionMaker
    >>> rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> caesium_chloride = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> phases = {"B1": rocksalt * (2, 2, 2), "B2": caesium_chloride * (3, 3, 3)}
    >>> maker = CorrectedPhasesMaker(
    ...     phases_maker=PhaseStabilityMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo")),
    ...     correction_maker=StateCorrectionMaker(target=PotentialSpec(name="mace-demo", dtype="float64")),
    ... )
    >>> [job.name for job, _ in maker.make(phases, [300.0, 400.0, 500.0]).iterflow()][-2:]
    ['phase stability', 'correction']
    """

    phases_maker: PhaseStabilityMaker = field(default_factory=PhaseStabilityMaker)

    @checked
    def make(self, phases: Mapping[str, Structure], temperatures: Sequence[float]) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.state_correction.StateCorrectionDocument`.

        Parameters
        ----------
        phases
            Ordered structures by name, with the same composition.
        temperatures
            Temperatures (K).

        Raises
        ------
        InvalidInputError, PotentialError
            If the structures differ in composition, another input is invalid, or no frames are stored.
        """
        self.check(self.phases_maker.frenkel_ladd_maker, phases.values())
        return self.corrected(self.phases_maker.make(phases, temperatures), phases.values())
