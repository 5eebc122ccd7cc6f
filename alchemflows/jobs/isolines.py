"""Jobs that sweep the temperature or the pressure of a crystal or liquid, starting from an absolute free energy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from jobflow import JobConfig, Maker, job

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.isolines import N_STRAINS, quantum_corrections, quantum_over_pressure
from alchemflows.errors import NotLiquidError, TrajectoryError, UnstableCrystalError
from alchemflows.free_energy.einstein import HBAR
from alchemflows.jobs.cost import JobCost, cost_of_switches
from alchemflows.jobs.modes import frequencies, harmonic_correction, n_of_modes
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.jobs.sweep_starts import crystal_of_sweep, start_of_sweep
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.isolines import (
    CurveValues,
    PressureSweepDocument,
    SweepAnchor,
    SweepWork,
    TemperatureSweepDocument,
)
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import worst
from alchemflows.schemas.verdict import Verdict

if TYPE_CHECKING:
    from alchemflows.alchemy.potential import AlchemicalPotential
    from alchemflows.alchemy.scaled import ScaledPath
    from alchemflows.free_energy.curves import WorkCurve
    from alchemflows.free_energy.isolines import Series
    from alchemflows.sampling.checkpoint import Checkpoint
    from alchemflows.sampling.scaling import Sweep

#: Number of sweeps, each over a shorter range than the last, before a crystal counts as unstable.
MAX_ATTEMPTS = 4
#: Where the crystal was lost, the range of the next sweep is shorter by this share of the distance from the anchor.
MARGIN = 0.1
#: Difference up to which pressures count as equal (GPa).
SAME_GPA = 1e-9


@dataclass(frozen=True)
class _Swept:
    """Result of the last attempt.

    Attributes
    ----------
    run
        The sweep.
    settings
        Settings of the switches.
    lost
        Temperatures or pressures at which the crystal was lost, in the order of the attempts.
    work
        Free energy along the path.
    arrays
        Arrays of the switches that are stored: temperatures or pressures at the points of the work, ascending, shape
        (m,), as `places`; work, mean volumes and squares of forces between the points.
    spent_s
        Time that was spent before the job was resumed.
    """

    run: Sweep
    settings: SwitchingSettings
    lost: list[float]
    work: WorkCurve
    arrays: dict[str, np.ndarray]
    spent_s: float


@dataclass
class SweepSwitchesMaker(Maker):
    """Base of makers of sweeps.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    settings
        Conditions, numbers of repeats and of steps. The temperature and pressure that are swept are those of `low` and
        `high`.
    low, high
        Ends of the range (K or GPa), which contains the anchor.
    n_points
        Number of points of the curve, both ends included; the anchor is added to them.
    seed
        Seed from which all others derive.
    quantum
        Whether the anchor, if it is not computed yet, will have harmonic modes; only for the estimate of the cost.
    """

    name: str = "sweep"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: SwitchingSettings = field(default_factory=lambda: SwitchingSettings(temperature_K=300.0))
    low: float = 0.0
    high: float = 0.0
    n_points: int = 21
    seed: int = 0
    quantum: bool = False

    def cost(self, system: AlchemicalSystem, anchor: object, isotherm: object = None, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`, if the crystal is not lost on the way."""
        quantum = bool(anchor.mode_energies_eV) if isinstance(anchor, FrenkelLaddDocument) else self.quantum
        n_evaluations = self._n_volumes(isotherm) * n_of_modes(system) if quantum else 0
        return replace(cost_of_switches(self.settings), n_evaluations=n_evaluations)

    def _n_volumes(self, isotherm: object) -> int:
        """Return the number of volumes at which a sweep computes harmonic modes, if the anchor has modes."""
        return 0 if isotherm is None else 1

    def _sweep(
        self,
        model: AlchemicalPotential,
        system: AlchemicalSystem,
        anchor: float,
        unit: str,
        path_of: Callable[[float, float], tuple[ScaledPath, SwitchingSettings]],
        *,
        liquid: bool = False,
    ) -> _Swept:
        """Sweep the range, or the part of it in which the crystal is stable, or the liquid does not crystallize.

        Raises
        ------
        UnstableCrystalError
            If the crystal is lost at the anchor, or in every attempt.
        NotLiquidError
            If the liquid crystallizes there.
        TrajectoryError
            If a trajectory explodes; the message names the range.
        """
        from alchemflows.free_energy.curves import work_curve

        failure = NotLiquidError if liquid else UnstableCrystalError
        event = "the liquid crystallized" if liquid else "the crystal melted or became another structure"
        low, high, lost = self.low, self.high, list[float]()
        with resumable() as checkpoint:
            for attempt in range(MAX_ATTEMPTS):
                path, settings = path_of(low, high)
                try:
                    run = self._attempt(model, system, path, settings, attempt, checkpoint, liquid)
                except TrajectoryError as error:
                    raise TrajectoryError(
                        f"in the sweep from {low:g} to {high:g} {unit}, {error}; the potential or the time step does "
                        "not suffice for the whole range: choose a smaller range, or a shorter time step"
                    ) from error
                places = _places(path, run.switches.lambdas, low)
                if run.lost_on_the_way_up is not None:
                    lost.append(float(_places(path, np.array(run.lost_on_the_way_up), low)))
                    high = anchor + (1 - MARGIN) * (lost[-1] - anchor)
                elif run.lost_on_the_way_down is not None:
                    lost.append(float(_places(path, np.array(run.lost_on_the_way_down), low)))
                    low = anchor + (1 - MARGIN) * (lost[-1] - anchor)
                else:
                    break
                if not low <= anchor <= high:
                    raise failure(
                        f"{event} at {lost[-1]:.4g} {unit}, so no curve starts from the anchor at {anchor:g} {unit}"
                    )
            else:
                raise failure(
                    f"{event} in each of {MAX_ATTEMPTS} sweeps, at "
                    f"{', '.join(f'{place:.4g}' for place in lost)} {unit}; choose a smaller range"
                )
        switches = run.switches
        scales = 1 + switches.lambdas * (path.final[-2] / path.initial[-2] - 1)
        middle = (scales[1:] + scales[:-1]) / 2
        arrays = {
            "places": places,
            "forward_eV": switches.forward_progress_eV,
            "backward_eV": switches.backward_progress_eV,
            "forward_volumes_A3": switches.forward_gradients[..., -1] / middle,
            "backward_volumes_A3": switches.backward_gradients[:, ::-1, -1] / middle,
        }
        ahead, behind = switches.forward_force_squares, switches.backward_force_squares
        if ahead is not None and behind is not None:
            squares = {"forward_force_squares": ahead, "backward_force_squares": behind[:, ::-1]}
            arrays |= squares | {"kind_counts": run.kind_counts}
        return _Swept(
            run,
            settings,
            lost,
            work_curve(switches.forward_progress_eV, switches.backward_progress_eV, settings.temperature_K),
            arrays,
            checkpoint.spent_s,
        )

    def _attempt(
        self,
        model: AlchemicalPotential,
        system: AlchemicalSystem,
        path: ScaledPath,
        settings: SwitchingSettings,
        attempt: int,
        checkpoint: Checkpoint,
        liquid: bool,
    ) -> Sweep:
        from alchemflows.alchemy.scaled import ScaledPotential
        from alchemflows.sampling.scaling import sweep

        return sweep(
            ScaledPotential(model),
            path,
            settings,
            system.structure,
            self.seed,
            f"sweep {attempt}",
            liquid=liquid,
            on_progress=ProgressFile(Path.cwd()),
            checkpoint=checkpoint.stage(f"sweep-{attempt}"),
        )

    def _common(
        self,
        model: AlchemicalPotential,
        system: AlchemicalSystem,
        anchor: FrenkelLaddDocument | LiquidFreeEnergyDocument,
        swept: _Swept,
        place: float,
        unit: str,
        started: float,
        start: SweepAnchor,
        more_reasons: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the fields that documents of temperatures and of pressures share."""
        switches, ends = swept.run.switches, swept.work.ends
        liquid = swept.run.liquid
        sites = worst(swept.run.summaries) if liquid is None else None
        ends_early = Reason.SWEEP_ENDS if liquid is None else Reason.LIQUID_ENDS
        lost = []
        for end, reached in ((self.high, swept.arrays["places"][-1]), (self.low, swept.arrays["places"][0])):
            beyond = [each for each in swept.lost if (each > place) == (end > place)]
            if beyond:
                nearest = min(beyond, key=lambda each: abs(each - place))
                lost.append(ends_early.because(lost=nearest, start=place, end=reached, unit=unit))
        reasons = [
            *(f"anchor: {reason}" for reason in anchor.verdict.reasons),
            *more_reasons,
            *lost,
            *ends.warnings,
            *(each for summary in (sites, liquid) if summary is not None for each in summary.reasons("switches")),
        ]
        return {
            "formula": anchor.formula,
            "weights": anchor.weights,
            "weight_labels": anchor.weight_labels,
            "coupling": anchor.coupling,
            "counts": anchor.counts,
            "anchor": start,
            "n_attempts": len(swept.lost) + 1,
            "work": SweepWork(
                forward_work_eV=switches.forward_work_eV.tolist(),
                backward_work_eV=switches.backward_work_eV.tolist(),
                dissipation_eV=ends.dissipation_eV,
                overlap=ends.overlap,
                switching_time_fs=self.settings.n_switching_steps * self.settings.timestep_fs,
                curves=PackedArrays(npz_base64=PackedArrays.encode(**swept.arrays)),
            ),
            "settings": self.settings,
            "sites": sites,
            "liquid": liquid,
            "verdict": Verdict.of(reasons),
            "provenance": Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + swept.spent_s, seed=self.seed
            ),
        }

    def _points(self, swept: _Swept, anchor: float) -> np.ndarray:
        """Return the points of the curve, with the anchor among them."""
        return np.unique([*np.linspace(swept.arrays["places"][0], swept.arrays["places"][-1], self.n_points), anchor])


@dataclass
class TemperatureSwitchesMaker(SweepSwitchesMaker):
    """Compute G(T) of a crystal or liquid, or F(T) at constant volume, by reversible scaling in both directions.

    All switches run in one batch. If the crystal melts or becomes another structure on the way, or the liquid
    crystallizes, the sweep is repeated over the range in which it does not. Settings without a pressure keep the cell
    of the anchor. See :class:`SweepSwitchesMaker` for the parameters.
    """

    name: str = "temperature sweep"

    @job(output_schema=TemperatureSweepDocument, data=["curves"], config=JobConfig(expose_store=True))
    def make(
        self,
        system: AlchemicalSystem,
        anchor: FrenkelLaddDocument | LiquidFreeEnergyDocument,
        isotherm: PressureSweepDocument | None = None,
    ) -> TemperatureSweepDocument:
        """Sweep the temperature.

        Parameters
        ----------
        system
            The crystal, or that from which the liquid was melted.
        anchor
            Its Frenkel–Ladd result, or the absolute free energy of the liquid, whose temperature is in the range;
            dynamics start from its structure.
        isotherm
            Sweep of the pressure from the anchor, which gives G at the pressure of the settings if this is another one.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        UnstableCrystalError
            If the crystal is lost at the temperature of the anchor, in every attempt, or in the sweep of the pressure.
        NotLiquidError
            If the liquid crystallizes there.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.alchemy.scaled import ScaledPath
        from alchemflows.free_energy.isolines import Anchor, isobar

        require_store()
        started = time.perf_counter()
        pressure = self.settings.pressure_GPa
        start = start_of_sweep(anchor, isotherm, pressure)
        model, system = crystal_of_sweep(self.potential, system, anchor, start.volume_A3)
        in_model = 0.0 if pressure is None else pressure * units.GPa

        def path_of(low: float, high: float) -> tuple[ScaledPath, SwitchingSettings]:
            path = ScaledPath.over_temperatures(system, anchor.weights, low, high, in_model)
            return path, _without_pressure(self.settings, low)

        liquid = isinstance(anchor, LiquidFreeEnergyDocument)
        swept = self._sweep(model, system, anchor.temperature_K, "K", path_of, liquid=liquid)
        reasons = [f"pressure sweep: {reason}" for reason in _own_reasons(isotherm)]
        # At another pressure the modes are those of the crystal with the volume there.
        if start.mode_energies_eV is None and isinstance(anchor, FrenkelLaddDocument) and anchor.mode_energies_eV:
            omegas, unstable = frequencies(system, np.array(anchor.weights), self.potential)
            energies = None if omegas is None else (HBAR * omegas).tolist()
            start, reasons = start.model_copy(update={"mode_energies_eV": energies}), [*reasons, *unstable]
        known = start.helmholtz if pressure is None else start.gibbs
        temperatures = self._points(swept, anchor.temperature_K)
        found = isobar(
            swept.work,
            swept.arrays["places"],
            (swept.arrays["forward_volumes_A3"], swept.arrays["backward_volumes_A3"]),
            Anchor(anchor.temperature_K, known.value_eV, known.error_eV),
            temperatures,
            3 * len(system.structure),
            0 if pressure is None else N_STRAINS[self.settings.cell_freedom],
        )
        return TemperatureSweepDocument(
            **self._common(model, system, anchor, swept, anchor.temperature_K, "K", started, start, reasons),
            pressure_GPa=pressure,
            temperatures_K=temperatures.tolist(),
            requested_K=(self.low, self.high),
            gibbs_eV=_values(found.gibbs_eV),
            volumes_A3=_values(found.volume_A3),
            enthalpy_eV=_values(found.enthalpy_eV),
            entropy_eV_per_K=_values(found.entropy_eV_per_K),
            heat_capacity_eV_per_K=_values(found.heat_capacity_eV_per_K),
            expansion_per_K=_values(found.expansion_per_K),
            dissipation_eV=found.dissipation_eV.tolist(),
            degree=found.degree,
            quantum=quantum_corrections(swept.arrays, start.mode_energies_eV, temperatures),
        )


@dataclass
class PressureSwitchesMaker(SweepSwitchesMaker):
    """Compute G(p) of a crystal at one temperature by switching the pressure in both directions.

    All switches run in one batch. If the crystal becomes another structure on the way, the sweep is repeated over the
    range in which it is stable. See :class:`SweepSwitchesMaker` for the parameters.
    """

    name: str = "pressure sweep"

    def _n_volumes(self, isotherm: object) -> int:
        return 2  # see harmonic_correction

    @job(output_schema=PressureSweepDocument, data=["curves"], config=JobConfig(expose_store=True))
    def make(self, system: AlchemicalSystem, anchor: FrenkelLaddDocument) -> PressureSweepDocument:
        """Sweep the pressure.

        Parameters
        ----------
        system
            The crystal.
        anchor
            Its Frenkel–Ladd result, whose pressure is in the range; dynamics start from its structure.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        UnstableCrystalError
            If the crystal is lost at the pressure of the anchor, or in every attempt.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.alchemy.scaled import ScaledPath
        from alchemflows.free_energy.isolines import Anchor, Series, isotherm

        require_store()
        started = time.perf_counter()
        start = start_of_sweep(anchor, None, anchor.pressure_GPa)
        model, system = crystal_of_sweep(self.potential, system, anchor, anchor.volume_A3)

        def path_of(low: float, high: float) -> tuple[ScaledPath, SwitchingSettings]:
            path = ScaledPath.over_pressures(system, anchor.weights, low * units.GPa, high * units.GPa)
            return path, _without_pressure(self.settings, anchor.temperature_K)

        swept = self._sweep(model, system, anchor.pressure_GPa, "GPa", path_of)
        pressures = self._points(swept, anchor.pressure_GPa)
        known = Anchor(anchor.pressure_GPa * units.GPa, anchor.gibbs.value_eV, anchor.gibbs.error_eV)
        found = isotherm(swept.work, swept.arrays["places"] * units.GPa, known, pressures * units.GPa)
        modulus = found.bulk_modulus_eV_per_A3
        harmonic, unstable = harmonic_correction(system, anchor, self.potential, found.volume_A3.values)
        return PressureSweepDocument(
            **self._common(model, system, anchor, swept, anchor.pressure_GPa, "GPa", started, start, unstable),
            temperature_K=anchor.temperature_K,
            pressures_GPa=pressures.tolist(),
            requested_GPa=(self.low, self.high),
            gibbs_eV=_values(found.gibbs_eV),
            volumes_A3=_values(found.volume_A3),
            bulk_modulus_GPa=_values(Series(modulus.values / units.GPa, modulus.errors / units.GPa)),
            dissipation_eV=found.dissipation_eV.tolist(),
            degree=found.degree,
            quantum=quantum_over_pressure(
                swept.arrays, start.mode_energies_eV, pressures, anchor.temperature_K, harmonic
            ),
        )


def _own_reasons(isotherm: PressureSweepDocument | None) -> list[str]:
    """Return the reasons against a sweep of the pressure, without those against its anchor."""
    reasons = [] if isotherm is None else isotherm.verdict.reasons
    return [reason for reason in reasons if not reason.startswith("anchor: ")]


def _without_pressure(settings: SwitchingSettings, temperature_K: float) -> SwitchingSettings:
    """Return settings at a temperature with the pressure 0, since that of the crystal is part of the model."""
    pressure = None if settings.pressure_GPa is None else 0.0
    return settings.model_copy(update={"temperature_K": temperature_K, "pressure_GPa": pressure})


def _places(path: ScaledPath, lambdas: np.ndarray, low: float) -> np.ndarray:
    """Return the temperature (K) or the pressure (GPa) at each λ of a path that begins at `low`."""
    s = path.final[-2]
    if s != 1.0:
        return low / (1 + lambdas * (s - 1))
    return np.asarray(path.weights(lambdas)[..., -1] / units.GPa)


def _values(series: Series) -> CurveValues:
    return CurveValues(values=series.values.tolist(), errors=series.errors.tolist())
