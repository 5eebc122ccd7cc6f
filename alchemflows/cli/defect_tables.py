"""Documents of point defects as tables."""

from __future__ import annotations

from ase.units import kB
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.chemical_potentials import SiteFraction
from alchemflows.schemas.defect_pairs import FrenkelPairDocument, SchottkyDocument
from alchemflows.schemas.vacancy import RemovalDocument, VacancyDocument, VacancySizes, VacancyTemperatures


def vacancy_table(document: VacancyDocument) -> ResultTable:
    """G_f by both routes in each limit of the chemical potentials, volumes and the equilibrium concentration."""
    table = empty_table(
        f"vacancy of {document.element} in {document.formula}, {document.counts.title}, {document.temperature_K:g} K",
        ("G_f = G(N−1) − G(N) + μ", "eV", "±"),
    )
    for limit in document.limits:
        potential = limit.chemical_potential
        table.add_row(
            f"μ({document.element}): {potential.limit}", f"{potential.value_eV:.4f}", f"{potential.error_eV:.4f}"
        )
        table.add_row("two Frenkel–Ladd runs", f"{limit.frenkel_ladd_eV:.4f}", f"{limit.frenkel_ladd_error_eV:.4f}")
        table.add_row("removal of an atom", f"{limit.alchemical_eV:.4f}", f"{limit.alchemical_error_eV:.4f}")
        table.add_section()
    table.add_row("difference of the routes", f"{document.difference_eV:.4f}", f"{document.difference_error_eV:.4f}")
    lines = ["the routes agree within 2σ" if document.agree else "the routes do NOT agree within 2σ"]
    for limit in document.limits:
        where = f", {limit.chemical_potential.limit}" if len(document.limits) > 1 else ""
        lines.append(f"in equilibrium{where}: {_concentration(limit.concentration)}")
        if limit.formation_volume_A3 is not None:
            lines.append(
                f"formation volume{where}: {limit.formation_volume_A3:.2f} ± {limit.formation_volume_error_A3:.2f} Å³"
            )
    lines.append(f"V(N−1) − V(N): {document.relaxation_volume_A3:.2f} ± {document.relaxation_volume_error_A3:.2f} Å³")
    if document.stability_eV is not None:
        lines.append(
            f"G of a formula unit − Σ ν μ: {document.stability_eV:.4f} ± {document.stability_error_eV:.4f} eV "
            "(below 0 the compound is stable)"
        )
    table.caption = "\n".join(lines)
    return table


def removal_table(document: RemovalDocument) -> ResultTable:
    """Return the terms of the free energy of removing one atom."""
    table = empty_table(
        f"removal of one {document.element} atom, {document.counts.title}, {document.temperature_K:g} K",
        ("", "eV", "±"),
    )
    table.add_row("switching", f"{document.switching_eV:.4f}", f"{document.switching_error_eV:.4f}")
    table.add_row("spring, to be subtracted", f"{document.spring_eV:.4f}", "")
    table.add_row("centre of mass", f"{document.centre_of_mass_eV:.4f}", "")
    table.add_section()
    table.add_row("G(N−1) − G(N)", f"{document.removal_eV:.4f}", f"{document.removal_error_eV:.4f}")
    return table


def vacancy_sizes_table(document: VacancySizes) -> ResultTable:
    """G_f in each cell, and in a large crystal."""
    table = empty_table(
        f"vacancy of {document.element} in {document.formula}, {document.temperature_K:g} K, {document.limit}",
        ("atoms", "G_f (eV)", "±"),
    )
    for n, g, error in zip(document.n_atoms, document.formation_eV, document.errors_eV, strict=True):
        table.add_row(f"{n:.6g}", f"{g:.4f}", f"{error:.4f}")
    table.add_section()
    table.add_row("∞", f"{document.formation_limit_eV:.4f}", f"{document.limit_error_eV:.4f}")
    shared = f"\nerror of μ that all sizes share: {document.shared_error_eV:.4f} eV" if document.shared_error_eV else ""
    table.caption = f"in equilibrium: {_concentration(document.concentration)}{shared}"
    return table


def vacancy_temperatures_table(document: VacancyTemperatures) -> ResultTable:
    """G_f, S_f and H_f at each temperature, and the equilibrium concentration."""
    table = empty_table(
        f"vacancy of {document.element} in {document.formula}, {document.counts.title}, {document.limit}",
        ("T (K)", "G_f (eV)", "±", "S_f (k_B)", "±", "H_f (eV)", "±", "site\nfraction", "± of its\nlogarithm"),
    )
    for k, temperature in enumerate(document.temperatures_K):
        fraction = document.concentrations[k]
        table.add_row(
            f"{temperature:g}",
            f"{document.formation_eV[k]:.4f}",
            f"{document.errors_eV[k]:.4f}",
            f"{document.entropy_eV_per_K[k] / kB:.2f}",
            f"{document.entropy_error_eV_per_K[k] / kB:.2f}",
            f"{document.enthalpy_eV[k]:.4f}",
            f"{document.enthalpy_error_eV[k]:.4f}",
            f"{fraction.site_fraction:.3g}",
            f"{fraction.ln_error:.2f}",
        )
    table.caption = f"S_f = −dG_f/dT of a polynomial of degree {document.degree} through all temperatures"
    return table


def schottky_tables(document: SchottkyDocument) -> Group:
    """G_S by both routes, and the vacancies that it is made of."""
    total = empty_table(
        f"Schottky defect of {document.formula}, {document.counts.title}, {document.temperature_K:g} K",
        ("G_S of a formula unit", "eV", "±"),
    )
    total.add_row("Frenkel–Ladd runs", f"{document.frenkel_ladd_eV:.4f}", f"{document.frenkel_ladd_error_eV:.4f}")
    total.add_row("removal of atoms", f"{document.alchemical_eV:.4f}", f"{document.alchemical_error_eV:.4f}")
    total.add_section()
    total.add_row("difference", f"{document.difference_eV:.4f}", f"{document.difference_error_eV:.4f}")
    total.caption = (
        f"{'the routes agree within 2σ' if document.agree else 'the routes do NOT agree within 2σ'}\nformation volume: "
        f"{document.formation_volume_A3:.2f} ± {document.formation_volume_error_A3:.2f} Å³"
    )
    parts = empty_table(
        "vacancies",
        ("element", "ν", "G(N−1) − G(N) (eV)", "±", "site fraction without\nother defects", "± of its\nlogarithm"),
    )
    for vacancy in document.vacancies:
        parts.add_row(
            vacancy.element,
            str(vacancy.stoichiometry),
            f"{vacancy.alchemical_eV:.4f}",
            f"{vacancy.alchemical_error_eV:.4f}",
            f"{vacancy.concentration.site_fraction:.3g}",
            f"{vacancy.concentration.ln_error:.2f}",
        )
    return Group(total, parts)


def frenkel_pair_table(document: FrenkelPairDocument) -> ResultTable:
    """G_F by both routes, and the concentrations."""
    table = empty_table(
        f"Frenkel pair of {document.element} in {document.formula}, {document.counts.title}, "
        f"{document.temperature_K:g} K",
        ("G_F", "eV", "±"),
    )
    table.add_row("three Frenkel–Ladd runs", f"{document.frenkel_ladd_eV:.4f}", f"{document.frenkel_ladd_error_eV:.4f}")
    table.add_row("vacancy by removal", f"{document.alchemical_eV:.4f}", f"{document.alchemical_error_eV:.4f}")
    table.add_section()
    table.add_row("difference", f"{document.difference_eV:.4f}", f"{document.difference_error_eV:.4f}")
    table.caption = "\n".join(
        [
            "the routes agree within 2σ" if document.agree else "the routes do NOT agree within 2σ",
            f"vacancies where no other defects are: {_concentration(document.vacancies)}",
            f"interstitials where no other defects are: {_concentration(document.interstitials)}",
            f"formation volume: {document.formation_volume_A3:.2f} ± {document.formation_volume_error_A3:.2f} Å³",
            f"the interstitial is {document.interstitial_shift_A:.2f} Å from the place asked for",
        ]
    )
    return table


def _concentration(fraction: SiteFraction) -> str:
    """Return a concentration in words, with the limits of one standard error."""
    return (
        f"{fraction.site_fraction:.3g} of the sites ({fraction.low:.2g} to {fraction.high:.2g}), "
        f"{fraction.per_cm3:.3g} per cm³, degeneracy {fraction.degeneracy:g}"
    )
