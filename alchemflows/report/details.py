"""Details of one result for the report: figures, terms of the free energy, verdict and provenance."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from alchemflows import plotting
from alchemflows.free_energy.estimators import MIN_OVERLAP
from alchemflows.report.results import Result, Value, difference, potential_name
from alchemflows.results import query
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document, decoded
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.free_energy import MIXING, Estimate, FreeEnergyDocument, MixedEnds
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance, demo_note
from alchemflows.schemas.switching import SwitchingDocument, WorkDocument
from alchemflows.schemas.vacancy import VacancyDocument
from alchemflows.storage.database import Database

#: Name and text of an entry.
Fact = tuple[str, str]


class Picture(NamedTuple):
    """A figure as ``data:`` URI of a PNG image, with its caption."""

    uri: str
    caption: str


@dataclass(frozen=True)
class Details:
    """Details of a result.

    Attributes
    ----------
    result
        Row of the table of results.
    pictures
        Figures.
    terms
        Contributions to the free energy, and other estimates of it.
    reasons
        Reasons for the verdict, and warnings.
    sampling, provenance
        Entries on the sampling, and on the potential, seed and versions.
    """

    result: Result
    pictures: list[Picture]
    terms: list[Value]
    reasons: list[str]
    sampling: list[Fact]
    provenance: list[Fact]


def read(database: Database, uuid: str) -> Any:
    """Return the output of a job, or a message if it cannot be read.

    Raises
    ------
    DocumentVersionError
        If the document was stored by a newer version of this package.
    """
    try:
        return decoded(database.job_store.get_output(uuid, load=True))
    except (KeyError, ValueError) as error:  # jobflow raises KeyError for missing samples, pydantic ValueError
        return f"The document cannot be read ({type(error).__name__}); the document or its samples are incomplete."


def details(database: Database, result: Result) -> Details | str:
    """Read the document of a result and return its details, or a message if the document cannot be read.

    Raises
    ------
    DocumentVersionError
        If the document was stored by a newer version of this package.
    """
    document = read(database, result.uuid)
    if isinstance(document, str):
        return document
    if isinstance(document, FreeEnergyDocument):
        return _ladder(database, result, document)
    if isinstance(document, VacancyDocument):
        return _vacancy(result, document)
    return _absolute(result, document) if isinstance(document, FrenkelLaddDocument) else _switching(result, document)


def _ladder(database: Database, result: Result, document: FreeEnergyDocument) -> Details:
    symbol, counts, refinement = difference(document.pressure_GPa), document.counts, document.refinement
    windows = list(query.windows(database, jobs=document.window_jobs))
    sampling = [
        *_dynamics(document.dynamics),
        ("volume", f"{document.volume_A3:.2f} Å³"),
        ("simulated time", f"{sum(window['simulated_ns'] for window in windows):.4g} ns, including equilibration"),
        ("independent samples", f"at least {min(window.n_independent for window in document.windows):.0f} per window"),
    ]
    if refinement.budget:
        sampling.append(("window runs added", f"{refinement.n_runs_added} of {refinement.budget} allowed"))
    if refinement.target_error_eV_per_atom is not None:
        met = "met" if refinement.target_met else "not met"
        sampling.append(("target error", f"{1e3 * refinement.target_error_eV_per_atom:g} meV/atom, {met}"))
    # A job runs several windows at once, so its time counts once; the time of the analysis is negligible.
    wall_time_s = sum({window["job"]: window["job_wall_time_s"] or 0.0 for window in windows}.values())
    return Details(
        result,
        pictures(
            document,
            gradient="⟨∂U/∂λ⟩ of each window",
            overlap=f"MBAR overlap between windows; neighbours need at least {MIN_OVERLAP}",
            convergence=f"{symbol} from the first and the last part of each window",
        ),
        [
            *_estimate(f"{symbol} by TI ({document.ti_rule}), configurational", document.ti, counts),
            *_estimate(f"{symbol} by BAR, configurational", document.bar, counts),
            *_estimate(f"{symbol} by MBAR, configurational", document.mbar, counts),
            Value("mass term", document.mass_term_eV, 0.0, counts),
            *_estimate(f"{symbol}: MBAR plus mass term", document.total, counts),
            *_terms_not_included(document, symbol, counts),
        ],
        list(dict.fromkeys([*document.verdict.reasons, *document.warnings])),
        sampling,
        provenance_facts(document, wall_time_s),
    )


def _switching(result: Result, document: SwitchingDocument) -> Details:
    symbol, counts, work = difference(document.pressure_GPa), document.counts, document.work
    return Details(
        result,
        pictures(document, switching="∂U/∂λ along the switches, and distributions of the work"),
        [
            *_estimate(f"{symbol} from the mean work, configurational", work.mean, counts),
            *_estimate(f"{symbol} by BAR, configurational", work.bar, counts),
            Value("mass term", document.mass_term_eV, 0.0, counts),
            *_estimate(f"{symbol}: best estimate plus mass term", document.total, counts),
            *_terms_not_included(document, symbol, counts),
        ],
        document.verdict.reasons,
        [*_switches(document.settings, work), ("volume at the start", f"{document.volume_A3:.2f} Å³")],
        provenance_facts(document, document.provenance.wall_time_s),
    )


def _absolute(result: Result, document: FrenkelLaddDocument) -> Details:
    counts, helmholtz, gibbs = document.counts, document.helmholtz, document.gibbs
    terms = [
        Value("Einstein crystal", document.einstein_eV, 0.0, counts),
        Value(
            "crystal minus Einstein crystal, by switching", document.switching_eV, document.switching_error_eV, counts
        ),
        Value("centre of mass", document.centre_of_mass_eV, 0.0, counts),
        Value("F, classical", helmholtz.value_eV, helmholtz.error_eV, counts),
        Value("pV", document.pv_eV, 0.0, counts),
        Value("noise of the mean cell, subtracted", -document.cell_bias_eV, document.cell_bias_error_eV, counts),
        Value("G, classical", gibbs.value_eV, gibbs.error_eV, counts),
    ]
    if document.is_mixed:
        terms.append(Value(f"{MIXING}, not in F and G", document.mixing_term_eV, 0.0, counts))
    if document.quantum_correction_eV is not None:
        terms.append(Value("quantum correction, not in F and G", document.quantum_correction_eV, 0.0, counts))
    springs = ", ".join(f"{spring.element} {spring.stiffness_eV_per_A2:.3g}" for spring in document.springs)
    return Details(
        result,
        pictures(document, switching="∂U/∂λ and work of the switches to the Einstein crystal"),
        terms,
        document.verdict.reasons,
        [
            *_switches(document.settings, document.work),
            ("mean volume", f"{document.volume_A3:.2f} Å³"),
            ("springs", f"{springs} eV/Å²"),
            ("space group", str(document.space_group)),
        ],
        provenance_facts(document, document.provenance.wall_time_s),
    )


def _vacancy(result: Result, document: VacancyDocument) -> Details:
    removal = document.removal
    times = [part.provenance.wall_time_s for part in (document.perfect, document.defective, removal)]
    return Details(
        result,
        pictures(document, switching="∂U/∂λ and work of the switches that remove the atom"),
        [
            *(
                Value(f"μ({document.element}): {each.limit}", each.value_eV, each.error_eV, None)
                for each in (limit.chemical_potential for limit in document.limits)
            ),
            Value("switching of the atom to a spring", removal.switching_eV, removal.switching_error_eV, None),
            Value("free energy of the spring, subtracted", removal.spring_eV, 0.0, None),
            Value("centre of mass", removal.centre_of_mass_eV, 0.0, None),
            Value("removal of the atom", removal.removal_eV, removal.removal_error_eV, None),
            *result.values,
            Value(
                "difference between the routes, removal minus Frenkel–Ladd",
                document.difference_eV,
                document.difference_error_eV,
                None,
            ),
        ],
        [*document.verdict.reasons, *document.verdict.notes],
        [*_switches(removal.settings, removal.work), *_equilibrium(document)],
        provenance_facts(document, sum(time or 0.0 for time in times)),
    )


def _equilibrium(document: VacancyDocument) -> list[Fact]:
    """Return volumes and concentrations for each limit of the chemical potentials."""
    facts = [
        ("V(N−1) − V(N)", f"{document.relaxation_volume_A3:.2f} ± {document.relaxation_volume_error_A3:.2f} Å³"),
    ]
    for limit in document.limits:
        name, fraction = limit.chemical_potential.limit, limit.concentration
        facts.append(
            (
                f"equilibrium site fraction, {name}",
                f"{fraction.site_fraction:.3g} ({fraction.low:.2g} to {fraction.high:.2g}), "
                f"{fraction.per_cm3:.3g} per cm³",
            )
        )
        if limit.formation_volume_A3 is not None:
            volume = f"{limit.formation_volume_A3:.2f} ± {limit.formation_volume_error_A3:.2f} Å³"
            facts.append((f"formation volume, {name}", volume))
    return facts


def pictures(document: Document, **captions: str) -> list[Picture]:
    """Return figures of a result as images within the HTML file.

    Parameters
    ----------
    document
        The result.
    captions
        Caption of each figure by its name (:func:`~alchemflows.plotting.figures_of`), in their order in the report; all
        figures with their names if no caption is given.
    """
    drawn = plotting.figures_of(document)
    wanted = captions or {name: name for name in drawn}
    return [_picture(drawn[name](), caption) for name, caption in wanted.items()]


def _picture(figure: Figure, caption: str) -> Picture:
    return Picture(f"data:image/png;base64,{b64encode(plotting.png(figure)).decode('ascii')}", caption)


def _estimate(name: str, estimate: Estimate | None, counts: Counts) -> list[Value]:
    return [] if estimate is None else [Value(name, estimate.delta_f_eV, estimate.error_eV, counts)]


def _terms_not_included(document: MixedEnds, symbol: str, counts: Counts) -> list[Value]:
    """Return the terms of configurational entropy that the free-energy difference does not include."""
    return [
        Value(f"{name}, not in {symbol}", value_eV, 0.0, counts)
        for name, value_eV in document.terms_not_in_total.items()
    ]


def _dynamics(settings: DynamicsSettings) -> list[Fact]:
    return [
        ("time step", f"{settings.timestep_fs:g} fs"),
        (
            "steps per run",
            f"{settings.n_equilibration_steps} of equilibration, {settings.n_production_steps} of production",
        ),
        ("friction", f"{settings.friction_per_ps:g} ps⁻¹"),
    ]


def _switches(settings: SwitchingSettings, work: WorkDocument) -> list[Fact]:
    return [
        ("switches", f"{settings.n_repeats} in each direction, {settings.schedule}"),
        ("time per switch", f"{1e-3 * work.switching_time_fs:g} ps"),
        ("time step", f"{settings.timestep_fs:g} fs"),
        ("dissipation", f"{work.dissipation_eV:.4f} eV"),
        ("overlap of the work distributions", f"{work.overlap:.2f}"),
    ]


def provenance_facts(document: Document, wall_time_s: float | None, timed: str = "wall time of sampling") -> list[Fact]:
    """Return entries on the potential, seed, time and versions of a result; empty without provenance."""
    provenance: Provenance | None = getattr(document, "provenance", None)
    if provenance is None:
        return []
    potential, note = provenance.potential, demo_note(document)
    facts: list[Fact] = [] if note is None else [("note", note)]
    if potential is not None:
        facts += [
            ("potential", potential_name(potential.name) + (f", head {potential.head}" if potential.head else "")),
            ("SHA-256 of the potential", potential.sha256),
            (
                "evaluated",
                f"{potential.backend}, {potential.dtype}, {potential.kernels} kernels, on {potential.device}",
            ),
        ]
    if provenance.seed is not None:
        facts.append(("seed", str(provenance.seed)))
    facts.append(("created", f"{provenance.created_at:%Y-%m-%d %H:%M:%S} UTC"))  # MongoDB stores UTC without a zone
    if wall_time_s is not None:
        facts.append((timed, f"{wall_time_s:.0f} s"))
    packages = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    return [*facts, ("versions", f"Python {provenance.python}, {packages}")]
