"""All reasons that a verdict may give against a result, with their sentences; docs/verdicts.md explains each."""

from __future__ import annotations

import re
from enum import Enum
from string import Formatter
from typing import Any


class Reason(Enum):
    """A failed check; its value is a sentence with fields for the numbers.

    Results that are made of others repeat the reasons of these after the name of the part, for example
    ``perfect crystal: mean cell: the volume drifts: ...``.

    Examples
    --------
    >>> text = Reason.MELTED.because(
    ...     where="switches", atom=3, element="I", moved=4.0, nearest=3.1, share=0.2
    ... )
    >>> Reason.of(f"crystal: {text}").key
    'melted'
    """

    OVERLAP = (
        "the overlap of the windows λ = {first:g} and {second:g} is {overlap:.3f} (below {least}); add windows between "
        "them"
    )
    NO_ERROR = "MBAR has no finite error, since the windows do not overlap; add windows"
    EQUAL_ENERGIES = (
        "BAR has no solution, since ΔU between neighbouring windows is the same in all samples; check that the atoms "
        "interact (lattice parameters, cutoff of the potential)"
    )
    NO_SOLUTION = "BAR has no solution, since neighbouring windows do not overlap; add windows"
    FEW_SAMPLES = (
        "window λ = {window:g} has {n:.1f} independent samples (below {least}), too few for a reliable error; sample "
        "longer"
    )
    FEW_TYPICAL = (
        "a typical window has {n:.0f} independent samples (below {least}), too few for a reliable error and for the "
        "convergence tests; sample longer"
    )
    NO_HALVES = (
        "halves of the sampling cannot be compared, since MBAR finds no solution for them; sample longer, or add "
        "windows"
    )
    HALVES = "drift: the first and the second half of the sampling differ by {sigma:.1f} σ; sample longer"
    SHIFT = (
        "window λ = {window:g} is not stationary: ⟨∂U/∂λ⟩ or the volume shifts by {sigma:.1f} σ after {percent:.0f} % "
        "of its production; equilibrate or sample longer"
    )
    STARTS = (
        "windows that started from λ = 0 and from λ = 1 are in different states ({sigma:.1f} σ) because they depend on "
        "their start; sample longer, or use replica exchange"
    )
    PAIR = (
        "windows λ = {first:g} and {second:g} are not consistent with each other: P₁(ΔU)/P₀(ΔU) is not exp[−β(ΔU − "
        "ΔF)] ({sigma:.1f} σ); they may be in different states of the crystal"
    )
    HYSTERESIS = (
        "hysteresis: windows with λ ≤ {first:g} and those with λ ≥ {second:g} are not consistent with each other "
        "({sigma:.1f} σ); at equilibrium the state of the crystal may change at another λ"
    )
    ESTIMATORS = "TI and MBAR disagree by {difference:.4f} eV ({sigma:.1f} σ); add windows, or sample longer"
    TARGET_ERROR = "the error of MBAR is {error:.2g} eV, above its target of {target:.2g} eV"
    FAILED_JOBS = "{n} jobs of the last round failed, so the refinement ended; see their errors"
    MELTED = (
        "{where}: the crystal melted, or atoms left their sites: atom {atom} ({element}) was {moved:.1f} Å from its "
        "site (nearest other: {nearest:.1f} Å); an atom was nearer to another site than to its own in {share:.0%} of "
        "the samples"
    )
    EXPLODED = (
        "{where}: the dynamics of replica {replica} exploded in sweep {sweep} of {total} ({quantities}), where the "
        "sampling of all replicas ended; use a shorter time step or a lower temperature"
    )
    SWEEP_ENDS = (
        "the crystal melted, or became another structure, at {lost:.4g} {unit} on the way from {start:g} {unit}, so "
        "the curve ends at {end:.4g} {unit}"
    )
    LIQUID_ENDS = (
        "the liquid crystallized at {lost:.4g} {unit} on the way from {start:g} {unit}, so the curve ends at {end:.4g} "
        "{unit}"
    )
    NOT_LIQUID = "{where}: this is not shown to be a liquid: {problem}"
    SHORT_LIQUID = (
        "{where}: {time:.2g} ps (below {least:g} ps) are too short to show by diffusion and order that this is a "
        "liquid; use more steps"
    )
    FEW_SWITCHES = "fewer than {least} switches in each direction, so the error is unreliable; use more repeats"
    WORK_OVERLAP = (
        "forward and backward work overlap by {overlap:.3f} (below {least}; dissipation {dissipation:.1f} k_B T): "
        "switch more slowly"
    )
    SECOND_LAW = (
        "the dissipation is {dissipation:.4f} eV; a negative value violates the second law, so the switches did not "
        "start in equilibrium; equilibrate longer"
    )
    DRIFT = "{quantity} drifts: the two halves of the production differ by {sigma:.1f} σ; equilibrate longer"
    BROKEN_SYMMETRY = (
        "the cell no longer has space group {group} of the start structure: before symmetrisation the mean cell is "
        "{sigma:.1f} standard errors from that symmetry; start from the structure that is stable at this temperature"
    )
    FROZEN_SHAPE = (
        "cell_freedom={freedom} keeps part of the shape of the initial cell, but space group {group} allows {n} more "
        "strain{plural} at constant pressure; along these the stress is not that of the pressure; choose {choice}"
    )
    CELL_NOISE = (
        "mean cell: its noise adds {bias:.4f} ± {error:.4f} eV to G. This bias is subtracted, but it is larger than "
        "the error of the switching, {switching:.4f} eV; sample the cell for longer"
    )
    UNSTABLE_AT_0_K = "no quantum correction: {error}"
    QUANTUM_SIZE = (
        "the quantum correction differs by {change:.3f} meV/atom between the two largest cells, more than the error of "
        "G, {error:.3f}"
    )
    SIZES = "the cells do not lie on a line in 1/N: χ² per degree is {chi_squared:.1f}"
    TEMPERATURES = "G_f(T) does not lie on a {curve}: χ² per degree is {chi_squared:.1f}; {advice}"
    ROUTES = "the routes differ by {difference:.4f} eV, more than twice {error:.4f} eV"
    NOT_DILUTE = (
        "{fraction:.3g} of the sites would have the defect: above {most:g} defects interact, and the dilute limit does "
        "not hold"
    )
    UNSTABLE_COMPOUND = (
        "{formula} is not stable at these chemical potentials: G of a formula unit is {excess:.4f} ± {error:.4f} eV "
        "above Σ ν μ"
    )
    INTERSTITIAL_MOVED = "the interstitial is {moved:.2f} Å from its requested position: it moved to another site"
    HOST_MOVED = "atom {atom} is {moved:.2f} Å from its site in the crystal with the interstitial"
    POINT_FAILED = "the run of this point failed: see its error, which says if the phase is unstable"
    POINT_LOST = (
        "the curve of this phase ends at {end:.4g} K, since the crystal melted, or became another structure, on the "
        "way from the anchor"
    )
    NO_MELTING = (
        "the free energies of solid and liquid do not cross between {low:g} and {high:g} K, where the {phase} is "
        "stable; choose other temperatures"
    )
    MELTING_ERROR = (
        "the error of the melting point, {error:.0f} K, is above {most:.0f} K, a tenth of the range of temperatures; "
        "use more or longer switches"
    )
    COEXISTENCE_FAILED = "the run with solid and liquid in contact failed: see its error"
    COEXISTENCE_OPEN = (
        "between {low:.4g} and {high:.4g} K there is no temperature at which the {phase} grows where both phases are "
        "in contact; use a larger spread of the temperatures, or more steps"
    )
    COEXISTENCE_ORDER = (
        "where both phases are in contact, the solid grows at {solid:.4g} K and the liquid at {liquid:.4g} K, a lower "
        "temperature; use more steps or replicas, or a larger cell"
    )
    COEXISTENCE_DEVIATES = (
        "where both phases are in contact, neither grows at {value:.1f} ± {error:.1f} K, {sigma:.1f} σ from the "
        "crossing of the free energies at {crossing:.1f} K; use a larger cell"
    )
    UNCERTAIN_TRANSITION = (
        "the transition between {low} and {high} is uncertain: within the errors of G it lies between the temperatures "
        "with a probability of {probability:.2f}"
    )
    TRANSITION_ERROR = (
        "the error of the transition between {low} and {high}, {error:.0f} K, is above {most:.0f} K, a tenth of the "
        "range of temperatures, and is itself uncertain"
    )
    BOUNDARY_DEVIATES = (
        "boundary between {first} and {second}: from {low:g} to {high:g} GPa the transition temperature changes by "
        "{deviation:.1f} K more than dT/dp says ({sigma:.1f} σ); use longer sweeps, or more pressures"
    )
    SWEEP_FAILED = "the sweep of the temperature failed: see its error"
    RELAXATION_FAILED = "{name}: the relaxation failed"
    NOT_RELAXED = "{name}: the relaxation has not converged"
    RANKING = "the {coupling} cell ranks order and disorder the other way round than random arrangements do"
    MIXED_WEIGHTS = (
        "weights were still mixed when they were rounded (mean of the largest weights {sharpness:.2f}): increase "
        "n_steps"
    )
    FEW_ARRANGEMENTS = (
        "{where}: {quantity} has {n:.1f} independent samples (below {least}), too few for a reliable error; use more "
        "sweeps or replicas"
    )
    FEW_MOVES = (
        "{where}: {percent:.2g} % of the attempted moves were accepted (below {least:g} %), so that the arrangements "
        "hardly change; use informed moves, more attempts or replica exchange"
    )
    CHAIN_STARTS = (
        "{where}: {quantity} depends on the start: {first} and {second} differ by {sigma:.1f} σ; use more sweeps or "
        "replica exchange"
    )
    NO_ROUND_TRIPS = (
        "replica exchange: no chain went from {low} to {high} and back; use more sweeps, or more replicas between them"
    )
    RARE_EXCHANGE = (
        "window λ = {window:g}: replicas at {low:g} and {high:g} K were exchanged in {percent:.1f} % of the attempts "
        "(below {least:g} %); add temperatures between them"
    )
    NO_TRIPS = (
        "window λ = {window:g}: no replica went from {low:g} to {high:g} K and back, so that the exchange over the "
        "temperature has no effect; sample longer, or choose a smaller range of temperatures"
    )
    TARGET = "{quantity} is {value:.6g}, its target {target:.6g}"
    OBJECTIVE = "the objective is {value:.6g}, its smallest possible value {least:.6g}"
    MIXING_OVERLAP = (
        "the states do not overlap: {first} and {second} have less than {least} in common; add chemical potentials or "
        "temperatures between them, or use replica exchange"
    )
    PURE_MISSING = (
        "{temperature:g} K: pure {element} was never visited, so the free energy of mixing is not known; use a wider "
        "range of chemical potentials"
    )
    COMPOSITIONS_MISSING = (
        "{temperature:g} K: compositions with {element} on {numbers} of {sites} sites were never visited; add chemical "
        "potentials, hold the composition there, or sample longer"
    )
    GAP_NOT_SAMPLED = (
        "{temperature:g} K: the gap between {left:.2f} and {right:.2f} of {element} is not shown, since {n} of the "
        "{within} compositions between its peaks ({element} on {numbers} of {sites} sites) were never visited; hold "
        "the composition there, or include temperatures above the gap"
    )
    EXCESS_FIT = (
        "the Redlich–Kister polynomial with {n} terms deviates from the free energy of mixing by {sigma:.1f} σ, so its "
        "binodal, spinodal and consolute point are not reliable"
    )
    NOT_SAMPLED = (
        "{points}: outside of what was sampled, since λ = {end:g} there is worth {percent:.2g} % of the samples of the "
        "nearest window (below {least:g} %); add a ladder at or near these conditions"
    )
    NOT_CONNECTED = (
        "{points}: overlaps of at least {least} do not connect λ = 0 with λ = 1; add windows to the nearest ladder"
    )
    FEW_EFFECTIVE = (
        "{points}: {n:.1f} effective independent samples (below {least}), too few for a reliable error; sample longer, "
        "or add a ladder at or near these conditions"
    )
    LADDER_DEVIATES = (
        "{ladder}: alone it differs from all ladders together by {sigma:.1f} σ; the crystal may be in another state "
        "there, or the windows are too short"
    )
    FEW_FRAMES = (
        "{where}: {n:.1f} independent frames (below {least:g}), too few for a reliable error; store more frames, or "
        "sample longer"
    )
    FRAMES_OVERLAP = (
        "{where}: the effective sample size is {n:.1f} of {of:.1f} independent frames (below {least:g}), since the "
        "potentials overlap too little (ΔU scatters by {spread:.3f} eV); store more frames, use a smaller cell, or run "
        "a ladder with the target"
    )
    TARGET_OVERLAP = (
        "{where}: runs with the target overlap too little with the frames (overlap {overlap:.3f}, below {least:g}), so "
        "BAR is not used; use a smaller cell, or run a ladder with the target"
    )
    FEW_TARGET_FRAMES = (
        "{where}: {n:.1f} independent configurations of the runs with the target (below {least:g}), too few for a "
        "reliable error; run longer"
    )
    TARGET_HALVES = (
        "{where}: BAR from the first and from the second halves of the runs with the target differ by {sigma:.1f} σ; "
        "run and equilibrate longer"
    )
    FRAMES_HALVES = (
        "{where}: the first and the second half of the frames differ by {sigma:.1f} σ; equilibrate or sample longer"
    )
    MEMBERS_DISAGREE = (
        "the members disagree by {sigma:.3g} meV/atom (σ_model, above {tolerance:g}); frames with the largest "
        "deviations of ΔU from its mean: {frames}"
    )
    MIXING_DISAGREES = (
        "{temperature:g} K: the members disagree by {sigma:.3g} meV/atom (σ_model of the free energy of mixing at "
        "x({element}) = {fraction:.3g}, above {tolerance:g})"
    )
    TRANSITION_FRAMES = (
        "{where}: the effective sample size is at most {n:.1f} of {of:.1f} independent frames (below {least:g}) at any "
        "temperature, since the potentials overlap too little (ΔU scatters by up to {spread:.1f} k_B T); "
        "store more frames, use smaller supercells, or find the transition with this potential"
    )
    NO_MEMBER_TRANSITION = (
        "{where}: no transition between {low:g} and {high:g} K, where the effective sample size is at least {least:g}; "
        "store more frames, sample other temperatures, or find the transition with this potential"
    )
    TRANSITIONS_DISAGREE = (
        "the members disagree by {sigma:.3g} K (σ_model of the transition temperature, above {tolerance:g}); frames "
        "with the largest deviations of ΔU from its mean: {frames}"
    )
    NOT_FIRST_ORDER = (
        "{where}: the shift of {shift:+.0f} K at {temperature:.0f} K is too large for its formula, or the entropy of "
        "the transition changes by {change:+.0f} %; compute the transition with the target"
    )
    FAR_FRAMES = (
        "{where}: the transition at {temperature:.0f} K is far from the frames of {state}; use an anchor that is "
        "nearer to it"
    )
    NOT_CORRECTED = "not corrected: {problem}"
    CONSTANT_ORDER = (
        "{where}: all samples between {low:g} and {high:g} K have the same order, {order:.3g}: all arrangements of so "
        "small a cell may be alike, or the crystal stays ordered; choose a larger supercell, or higher temperatures"
    )
    TRANSITION_OUTSIDE = (
        "{where}: no transition between {low:g} and {high:g} K: the heat capacity is largest at an end, {end:g} K; "
        "sample temperatures beyond it"
    )
    NO_CROSSING = (
        "the cumulants of the order in {small} and {large} do not cross between {low:g} and {high:g} K; sample other "
        "temperatures, or longer"
    )
    UNCERTAIN_CROSSING = (
        "{where}: the transition temperature has no error, since within the errors of the averages there is often no "
        "transition between {low:g} and {high:g} K; sample longer, or other temperatures"
    )
    TEMPERATURE_OVERLAP = (
        "{where}: {first:g} and {second:g} K overlap by {overlap:.3f} (below {least}); add temperatures between them"
    )
    CROSS_CHECK = "{name}: {value:.4g} {unit}, outside ±{bound:g} {unit}"

    @property
    def key(self) -> str:
        """Name of the reason in docs/verdicts.md, such as ``few-samples``."""
        return self.name.lower().replace("_", "-")

    def because(self, **numbers: Any) -> str:
        """Return the sentence with its numbers."""
        return self.value.format(**numbers)

    @classmethod
    def of(cls, text: str) -> Reason | None:
        """Return the reason that a stored sentence gives, whatever parts of a result it is prefixed with."""
        return next((reason for reason in cls if reason._pattern().search(text)), None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self.value}>"

    def _pattern(self) -> re.Pattern[str]:
        parts = Formatter().parse(self.value)
        return re.compile("".join(re.escape(fixed) + (".*" if field else "") for fixed, field, *_ in parts) + "$")
