"""The document of a committee of potentials on a free energy of mixing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from alchemflows.analysis.committee import N_LISTED, N_NAMED
from alchemflows.analysis.correction import MIN_INDEPENDENT, reasons_against
from alchemflows.analysis.frame_spreads import state_spreads
from alchemflows.analysis.frames import StateFrames
from alchemflows.analysis.members import EvaluatedMember, completed_members, notes_on_members
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.committees import MIN_MEMBERS, spread_of_values
from alchemflows.free_energy.mixing_changes import NEGLIGIBLE, MixingChange, changed_diagram, mixing_changes, scatters
from alchemflows.free_energy.redlich_kister import RedlichKister, RedlichKisterFit, fit_excess
from alchemflows.free_energy.reweighting import MIN_FRAMES, Reweighting
from alchemflows.schemas.mixing import CompositionPair, MixingDocument
from alchemflows.schemas.mixing_committee import (
    DisagreeingMixture,
    MemberIsotherm,
    MixingCommitteeDocument,
    MixingMember,
    MixingQuantity,
    QuantitySpread,
)
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Largest mean squared deviation of the change from its fit, in standard errors.
MAX_DEVIATION = 4.0


@dataclass(frozen=True)
class _MixingMember:
    """A member with its change of G_mix, and values and influences of all quantities, in the order of _quantities."""

    name: str
    change: MixingChange | None
    fit: RedlichKisterFit | None
    values: np.ndarray
    influences: np.ndarray


def second_counts(state: StateFrames, second: str) -> np.ndarray:
    """Return the number of mixing sites with the second species in each frame of a state, shape (m,)."""
    from pymatgen.core import Element

    frames = state.frames
    assert frames.occupied is not None
    mixing = np.flatnonzero((frames.numbers > 0).sum(axis=1) > 1)
    found = frames.numbers[mixing, frames.occupied[:, mixing]] == Element(second).Z
    return np.asarray(found.sum(axis=1))


def check_pure(uuid: str, document: MixingDocument, states: Sequence[StateFrames]) -> None:
    """Check that frames of both pure compositions are stored, before any is evaluated.

    Parameters
    ----------
    uuid, document, states
        Identifier, document and frames of the states of the free energy of mixing.

    Raises
    ------
    InvalidInputError
        If no temperature has frames of both pure compositions that can be reweighted.
    """
    of_frames: dict[float, list[np.ndarray]] = {}
    for state, of_state in zip(states, document.states, strict=True):
        rows = np.stack([second_counts(state, document.species[1]), state.frames.energy_eV])
        of_frames.setdefault(of_state.temperature_K, []).append(rows)
    for temperature_K, found in of_frames.items():
        numbers, energies_eV = np.concatenate(found, axis=1)
        pure = [energies_eV[numbers == n] for n in (0, document.n_mixing_sites)]
        # At constant positions all frames of a pure composition are alike, and few of them suffice.
        alike = all(len(each) and np.ptp(each) < NEGLIGIBLE * units.kB * temperature_K for each in pure)
        if min(map(len, pure)) >= (MIN_FRAMES if alike else MIN_INDEPENDENT):
            return
    raise InvalidInputError(
        f"the result {uuid[:8]} has fewer than {MIN_INDEPENDENT:g} frames of a pure composition at each temperature; "
        "sample longer, or at more extreme chemical potentials"
    )


def mixing_committee_document(
    uuid: str,
    document: MixingDocument,
    n_second: Sequence[np.ndarray],
    evaluated: Sequence[EvaluatedMember],
    *,
    include_sampled: bool = True,
    tolerance_meV_per_atom: float | None = None,
) -> MixingCommitteeDocument:
    """Return the document of a committee.

    Parameters
    ----------
    uuid, document
        Identifier and document of the free energy of mixing.
    n_second
        For each of its states, the number of mixing sites with the second species in each frame.
    evaluated
        The members besides the sampled potential.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_meV_per_atom
        Largest accepted standard deviation of G_mix over the members (meV/atom).

    Raises
    ------
    AlchemflowsError
        If fewer than two members are left, since jobs failed.
    InvalidInputError
        If no temperature has enough frames of both pure compositions.
    """
    done, failed = completed_members(evaluated, include_sampled)
    errors = np.array([each.mixing_errors_eV_per_mixing_site for each in document.isotherms], dtype=float)
    changes = mixing_changes(
        [each.differences_eV for each in done if each.differences_eV is not None],
        n_second,
        [state.temperature_K for state in document.states],
        errors,
        MIN_INDEPENDENT,
    )
    if not any(np.isfinite(change.excess_eV_per_site).any() for change in changes):
        raise InvalidInputError(
            f"the result {uuid[:8]} has too few independent frames of pure compositions; sample longer"
        )
    found = [_member(each.name, document, change) for each, change in zip(done, changes, strict=True)]
    members = [_listed(each, document, member) for each, member in zip(done, found, strict=True)]
    if include_sampled:
        found.insert(0, _member("sampled", document, None))
        members.insert(0, _sampled(document, found[0]))
    spreads = _spreads(document, found)
    whole = MixingCommitteeDocument(
        result=uuid,
        formula=document.formula,
        species=document.species,
        counts=document.counts,
        n_mixing_sites=document.n_mixing_sites,
        pressure_GPa=document.pressure_GPa,
        temperatures_K=document.temperatures_K,
        source=document.provenance.potential,
        members=members,
        failed=failed,
        spreads=spreads,
        frames=_frames(document, n_second, done, include_sampled),
        tolerance_meV_per_atom=tolerance_meV_per_atom,
        verdict=Verdict.of([], []),
        provenance=Provenance(potential=document.provenance.potential),
    )
    reasons = [f"free energy of mixing: {reason}" for reason in document.verdict.reasons]
    for member in found:
        reasons += _against(member, document.species[1])
    too_large = _too_large(whole)
    reasons += too_large
    notes = notes_on_members(done, failed) + (_at_fault(whole) if too_large else [])
    notes += _few_frames(document, found) + _without_gap(members)
    if document.fit is not None and document.fit.covariance is None:
        notes.append("the result is of an earlier release without the covariance of its fit: gaps are not compared")
    return whole.model_copy(update={"verdict": Verdict.of(reasons, notes)})


def _member(name: str, document: MixingDocument, change: MixingChange | None) -> _MixingMember:
    """Return a member with all its quantities: G_mix of the cell of each temperature and N, then the phase diagram."""
    base = np.array([each.mixing_eV for each in document.isotherms], dtype=float)
    errors = np.array([each.mixing_errors_eV for each in document.isotherms], dtype=float)
    # The errors of G_mix with the sampled potential are common to all members.
    influences = np.diag(np.nan_to_num(errors).ravel())
    if change is not None:
        n_sites = document.n_mixing_sites
        base = base + n_sites * change.excess_eV_per_site
        own = n_sites * change.mixing_deviations_eV_per_site
        influences = np.concatenate([influences, own.reshape(len(own), base.size)])
    diagram, on_diagram, fit = _diagram(document, change)
    n_common, n_own = errors.size, len(influences) - errors.size
    n_of_fit = len(on_diagram) - n_own
    # Common sources of G_mix and of the fit come first, then those of the change.
    joined = np.zeros((n_common + n_of_fit + n_own, base.size + len(diagram)))
    joined[:n_common, : base.size] = influences[:n_common]
    joined[n_common + n_of_fit :, : base.size] = influences[n_common:]
    joined[n_common:, base.size :] = on_diagram
    return _MixingMember(name, change, fit, np.concatenate([base.ravel(), diagram]), joined)


def _diagram(
    document: MixingDocument, change: MixingChange | None
) -> tuple[np.ndarray, np.ndarray, RedlichKisterFit | None]:
    """Return the phase diagram, its influences, and the fit of the change; NaN if one of the fits is not known."""
    n_own = 0 if change is None else len(change.mixing_deviations_eV_per_site)
    n = 2 * len(document.temperatures_K) + 1
    known = document.fit
    if known is None or known.covariance is None:
        return np.full(n, np.nan), np.zeros((n_own, n)), None
    coefficients = RedlichKister(
        np.array(known.enthalpies_eV_per_mixing_site), np.array(known.entropies_eV_per_K_per_mixing_site)
    )
    covariance, fit = np.array(known.covariance), None
    if change is not None:
        try:
            fit = fit_excess(change)
        except InvalidInputError:
            return np.full(n, np.nan), np.zeros((len(covariance) + n_own, n)), None
    values, influences = changed_diagram(coefficients, covariance, fit, document.temperatures_K)
    return values, influences, fit


def _quantities(document: MixingDocument) -> list[tuple[MixingQuantity, float | None, float | None]]:
    """Return name, temperature and composition of all quantities."""
    temperatures = document.temperatures_K
    quantities: list[tuple[MixingQuantity, float | None, float | None]] = [
        ("mixing", each.temperature_K, float(x)) for each in document.isotherms for x in each.fractions
    ]
    for temperature_K in temperatures:
        quantities += [("binodal-left", temperature_K, None), ("binodal-right", temperature_K, None)]
    return [*quantities, ("consolute", None, None)]


def _spreads(document: MixingDocument, members: Sequence[_MixingMember]) -> list[QuantitySpread]:
    spreads = []
    n_rows = max(len(member.influences) for member in members)
    for k, (quantity, temperature_K, fraction) in enumerate(_quantities(document)):
        if fraction in (0.0, 1.0):
            continue
        having = [member for member in members if np.isfinite(member.values[k])]
        if len(having) < MIN_MEMBERS:
            continue
        influences = np.zeros((n_rows, len(having)))
        for column, member in enumerate(having):
            influences[: len(member.influences), column] = member.influences[:, k]
        spread = spread_of_values([member.values[k] for member in having], influences)
        spreads.append(
            QuantitySpread(
                quantity=quantity,
                temperature_K=temperature_K,
                fraction=fraction,
                n_members=len(having),
                mean=spread.mean[0],
                sigma_stat=_known(spread.mean[1]),
                sigma_model=spread.spread[0],
                sigma_model_error=_known(spread.spread[1]),
                sigma_noise=_known(spread.noise),
            )
        )
    return spreads


def _listed(evaluated: EvaluatedMember, document: MixingDocument, member: _MixingMember) -> MixingMember:
    change = member.change
    assert change is not None
    isotherms, overlaps = [], True
    n_sites = document.n_mixing_sites
    for t, isotherm in enumerate(document.isotherms):
        results = change.reweightings[t]
        texts = [text for _, result in _judged(change, t) for text in reasons_against("", result)]
        known = bool(np.isfinite(change.excess_eV_per_site[t]).any())
        overlaps &= known and not any(Reason.of(text) is Reason.FRAMES_OVERLAP for text in texts)
        changes, errors = n_sites * change.excess_eV_per_site[t], n_sites * change.errors_eV_per_site[t]
        isotherms.append(
            MemberIsotherm(
                temperature_K=isotherm.temperature_K,
                mixing_eV=_all_known(member.values[t * (n_sites + 1) :][: n_sites + 1]),
                change_eV=_all_known(changes),
                change_errors_eV=_all_known(np.where(np.isfinite(changes), errors, np.nan)),
                n_effective=[None if result is None else result.n_effective for result in results],
                n_independent=[None if result is None else result.n_independent for result in results],
                binodal=_binodal(document, member, t),
            )
        )
    consolute, error = member.values[-1], np.linalg.norm(member.influences[:, -1])
    return MixingMember(
        name=evaluated.name,
        potential=evaluated.potential,
        job=evaluated.job,
        isotherms=isotherms,
        consolute_K=_known(consolute),
        consolute_error_K=_known(error) if np.isfinite(consolute) else None,
        overlaps=overlaps,
    )


def _sampled(document: MixingDocument, member: _MixingMember) -> MixingMember:
    nothing: list[float | None] = [None] * (document.n_mixing_sites + 1)
    isotherms = [
        MemberIsotherm(
            temperature_K=each.temperature_K,
            mixing_eV=each.mixing_eV,
            change_eV=[None if value is None else 0.0 for value in each.mixing_eV],
            change_errors_eV=[None if value is None else 0.0 for value in each.mixing_eV],
            n_effective=nothing,
            n_independent=nothing,
            binodal=_binodal(document, member, t),
        )
        for t, each in enumerate(document.isotherms)
    ]
    potential, consolute = document.provenance.potential, member.values[-1]
    return MixingMember(
        name="sampled" if potential is None else potential.name,
        sampled=True,
        potential=potential,
        isotherms=isotherms,
        consolute_K=_known(consolute),
        consolute_error_K=_known(np.linalg.norm(member.influences[:, -1])) if np.isfinite(consolute) else None,
        overlaps=True,
    )


def _binodal(document: MixingDocument, member: _MixingMember, t: int) -> CompositionPair | None:
    first = len(document.temperatures_K) * (document.n_mixing_sites + 1) + 2 * t
    left, right = member.values[first : first + 2]
    if not np.isfinite([left, right]).all():
        return None
    errors = np.linalg.norm(member.influences[:, first : first + 2], axis=0)
    return CompositionPair(left=left, left_error=_known(errors[0]), right=right, right_error=_known(errors[1]))


def _against(member: _MixingMember, second: str) -> list[str]:
    """Return the reasons against a member: of each kind, the composition at which the numbers are worst."""
    if member.change is None:
        return []
    reasons = []
    change = member.change
    for t, temperature_K in enumerate(change.temperatures_K):
        named: dict[Reason | None, list[tuple[float, float, Reweighting]]] = {}
        if not np.isfinite(change.excess_eV_per_site[t]).any():
            reasons += _without_pure(member.name, change, t, second)
        for x, result in _judged(change, t):
            for text in reasons_against("", result):
                named.setdefault(Reason.of(text), []).append((result.n_effective, x, result))
        for kind, found in named.items():
            _, x, worst = min(found, key=lambda each: each[:2])
            where = f"{member.name}: {temperature_K:g} K, x({second}) = {x:.3g}"
            where += f" and {len(found) - 1} further compositions" if len(found) > 1 else ""
            reasons += [text for text in reasons_against(where, worst) if Reason.of(text) is kind]
    if member.fit is not None and member.fit.mean_squared_deviation > MAX_DEVIATION:
        deviation = np.sqrt(member.fit.mean_squared_deviation)
        reason = Reason.EXCESS_FIT.because(n=member.fit.n_terms, sigma=deviation)
        reasons.append(f"{member.name}: {reason}")
    return reasons


def _judged(change: MixingChange, t: int) -> list[tuple[float, Reweighting]]:
    """Return composition and reweighting wherever the change is known and ΔU differs between frames."""
    each = zip(change.x, change.excess_eV_per_site[t], change.reweightings[t], strict=True)
    return [
        (float(x), result)
        for x, value, result in each
        if result is not None and np.isfinite(value) and scatters(result, float(change.temperatures_K[t]))
    ]


def _without_pure(name: str, change: MixingChange, t: int, second: str) -> list[str]:
    """Return the reasons why nothing is known at a temperature: pure compositions with too few frames."""
    reasons = []
    for x, result in ((0, change.reweightings[t][0]), (1, change.reweightings[t][-1])):
        n = 0.0 if result is None else result.n_independent
        if n < MIN_INDEPENDENT:
            where = f"{name}: {change.temperatures_K[t]:g} K, x({second}) = {x}"
            reasons.append(Reason.FEW_FRAMES.because(where=where, n=n, least=MIN_INDEPENDENT))
    return reasons


def _few_frames(document: MixingDocument, members: Sequence[_MixingMember]) -> list[str]:
    """Return notes on compositions that are left out, since a member has too few independent frames there."""
    notes = []
    for t, isotherm in enumerate(document.isotherms):
        changes = [member.change.excess_eV_per_site[t] for member in members if member.change is not None]
        known = [np.isfinite(each) for each in changes if np.isfinite(each).any()]
        if not known:
            continue
        missing = np.flatnonzero(~np.all(known, axis=0) & (np.array(isotherm.n_samples) > 0))
        if len(missing):
            numbers = ", ".join(map(str, missing))
            notes.append(
                f"{isotherm.temperature_K:g} K: compositions with {document.species[1]} on {numbers} of "
                f"{document.n_mixing_sites} sites have fewer than {MIN_INDEPENDENT:g} independent frames and are left "
                "out"
            )
    return notes


def _too_large(document: MixingCommitteeDocument) -> list[str]:
    """Return the reasons against temperatures at which members disagree by more than the tolerance."""
    tolerance, reasons = document.tolerance_meV_per_atom, []
    for temperature_K in document.temperatures_K if tolerance is not None else ():
        worst = document.largest(temperature_K)
        if worst is None:
            continue
        sigma_meV = 1e3 * document.counts.per_atom(worst.sigma_model)
        if tolerance is not None and sigma_meV > tolerance:
            reasons.append(
                Reason.MIXING_DISAGREES.because(
                    temperature=temperature_K,
                    element=document.species[1],
                    fraction=worst.fraction,
                    sigma=sigma_meV,
                    tolerance=tolerance,
                )
            )
    return reasons


def _frames(
    document: MixingDocument,
    n_second: Sequence[np.ndarray],
    done: Sequence[EvaluatedMember],
    include_sampled: bool,
) -> list[DisagreeingMixture]:
    """Return the frames of all states with the largest spread of ΔU over the members."""
    temperatures = [state.temperature_K for state in document.states]
    spreads = state_spreads(done, include_sampled, temperatures, n_second)
    found = [
        DisagreeingMixture(
            state=number + 1,
            temperature_K=temperatures[number],
            fraction=float(n_second[number][k] / document.n_mixing_sites),
            index=k,
            spread_eV=float(each.spread_eV[k]),
            member=done[member].name,
            deviation_eV=float(each.deviations_eV[member, k]),
        )
        for number, each in enumerate(spreads)
        for k, member in each.worst(N_LISTED)
    ]
    return sorted(found, key=lambda each: -each.spread_eV)[:N_LISTED]


def _at_fault(document: MixingCommitteeDocument) -> list[str]:
    """Return the note that names the frames at which the members disagree most."""
    frames = "; ".join(
        f"state {each.state}, frame {each.index} ({each.temperature_K:g} K, x({document.species[1]}) = "
        f"{each.fraction:.3g}, {each.member}, {1e3 * each.deviation_eV:+.1f} meV)"
        for each in document.frames[:N_NAMED]
    )
    return [f"frames at which the members disagree most: {frames}"] if frames else []


def _without_gap(members: Sequence[MixingMember]) -> list[str]:
    """Return notes on temperatures at which some members have a gap and others do not."""
    notes = []
    for isotherms in zip(*(member.isotherms for member in members), strict=True):
        without = [member.name for member, each in zip(members, isotherms, strict=True) if each.binodal is None]
        if 0 < len(without) < len(members):
            notes.append(
                f"{isotherms[0].temperature_K:g} K: no gap with {', '.join(without)}, so that its compositions are "
                "compared without these"
            )
    return notes


def _known(value: float | np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None


def _all_known(values: np.ndarray) -> list[float | None]:
    return [_known(value) for value in values]
