"""Measure how often exact values are within the printed errors, for systems with known results.

    python benchmarks/errors.py [--repeats 200] [--quick] [--only WORD ...] [--json FILE]

It prints two tables: every quantity that the package prints with an error, with the estimator of this error and its
coverage, and all measured rows. A row holds if 55 to 80 % of the repeats are within one error of the exact value and 88
to 99 % within two. Works obey Crooks' theorem: Gaussian works, and an instantaneous change of the stiffness of harmonic
modes. Ladders are harmonic modes whose stiffness changes by a factor of 3 along the path, sampled by an exact
Ornstein–Uhlenbeck process; the default is 11 windows of 2000 samples. Free energies of mixing are those of a mean-field
mixture on 16 sites, from 400 samples of each of 22 states. Ladders at two temperatures or pressures are of anharmonic
modes, with 2000 samples of each window; three short ladders, combined and each alone, have ten independent ones of each
window. Corrections are of 24 harmonic modes whose stiffness changes by 5 to 30 %, from 100 frames, or from 40 instead
of a tenth; in two stages, from a quarter or half of them with the second target; corrected ladders have five windows of
2000 samples, or of 400. Committees are of three such potentials and the sampled one; those on a free energy of mixing
are of three regular solutions on 8 sites, from 100 frames of each composition at each of two temperatures, or from 40
instead of a tenth. Curves over temperature, and transitions between two of them, are those of 60 modes, from 4 switches
in each direction. Transitions between order and disorder are those of lattices of 24 and 48 sites whose energy depends
on their order only, from 400 samples at each of 6 temperatures, or from 100 instead of a tenth; committees on them have
1600 samples, of which 400 are frames, or 100 instead of a tenth. A tenth of the default
means a tenth of the samples; for switches, which then dissipate ten times as much, works with σ = 3 instead of 1 k_B T,
or modes that relax less. Results with a warning in the verdict are left out; their fraction is printed. Quantities that
are in FILE already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from combination_rows import combination_rows, exchanged_rows, short_ladder_rows
from committee_rows import committee_rows
from correction_rows import (
    STAGES,
    corrected_ladder_rows,
    correction_rows,
    sampled_target_rows,
    stages_rows,
    state_rows,
)
from error_rows import (
    DEFAULT,
    TENTH,
    Row,
    cell_rows,
    curve_rows,
    ladders,
    mean_row,
    refined_row,
    size_row,
    sums,
    thermal_rows,
    transition_row,
    vacancy_sizes_row,
    volumes,
    works,
)
from growth_rows import growth_rows
from isoline_rows import isobar_rows, isotherm_rows
from mixing_committee_rows import mixing_committee_rows
from mixing_rows import chain_rows, mixing_rows
from phase_rows import boundary_rows, phase_rows
from transition_committee_rows import transition_committee_rows
from transition_rows import transition_rows

Rows = Callable[[int], Iterable[Row]]


@dataclass(frozen=True)
class Quantity:
    """Quantities with one estimator of the error.

    Attributes
    ----------
    name
        Quantities that are printed with the error.
    fields
        Fields of documents that contain the error.
    error
        Estimator of the error.
    tests
        Tests of the coverage in tests/free_energy/test_errors.py.
    default, tenth
        Rows at the default settings and at a tenth of them; with a number of repeats.
    """

    name: str
    fields: tuple[str, ...]
    error: str
    tests: tuple[str, ...]
    default: Rows
    tenth: Rows


QUANTITIES = (
    Quantity(
        "ΔF, ΔG by TI, BAR, MBAR; totals; ⟨∂U/∂λ⟩; means and figures made of them",
        ("error_eV", "error_eV_per_atom", "error_dudl_eV", "error"),
        "scatter of the influence of each sample (MBAR: asymptotic), correlation, few samples; TI: discretisation",
        ("test_ladders", "test_other_ladders"),
        partial(ladders, DEFAULT),
        partial(ladders, TENTH),
    ),
    Quantity(
        "ladders with a `target_error`",
        (),
        "as without; the refinement ends at the first error below the target",
        ("test_refined_ladders",),
        lambda n: (refined_row(DEFAULT, memory, n) for memory in (5.0, 20.0)),
        lambda n: (refined_row(TENTH, memory, 2 * n) for memory in (1.5, 5.0)),
    ),
    Quantity(
        "convergence curve",
        ("forward_error_eV", "backward_error_eV"),
        "asymptotic error of MBAR, with the remaining correlation",
        ("test_points_of_the_convergence_curve",),
        partial(curve_rows, DEFAULT, 5.0),
        partial(curve_rows, TENTH, 5.0),
    ),
    Quantity(
        "work of switches: BAR and mean; F of Frenkel–Ladd; removal of an atom",
        ("switching_error_eV", "removal_error_eV"),
        "larger of the scatter of influences and the asymptotic error, few works; unequal dissipation",
        ("test_switching_with_gaussian_works", "test_switching_with_works_that_are_not_gaussian"),
        partial(works, (0.3, 1.0), ((1.3, 24),)),
        partial(works, (2.0, 3.0), ((3.0, 3),)),
    ),
    Quantity(
        "curves over temperature, pressure: G, H, S, heat capacity, volume, expansion, bulk modulus; Wigner–Kirkwood",
        ("errors",),
        "scatter of the influences of the switches, few switches; in quadrature with the anchor",
        ("test_free_energies_along_isobars", "test_quantum_corrections_along_isotherms"),
        lambda n: (*isobar_rows(4, 0.5, n), *isotherm_rows(4, 0.5, n)),
        lambda n: (*isobar_rows(4, 0.9, n), *isotherm_rows(4, 0.9, n)),
    ),
    Quantity(
        "noise of the mean cell; G of Frenkel–Ladd",
        ("bias_error_eV", "cell_bias_error_eV"),
        "half the interval of 68 % of χ², with the independent samples of each direction; in quadrature with switching",
        ("test_noise_of_a_mean_cell",),
        lambda n: (each for d in (1, 2, 6) for each in cell_rows(1000, d, 12.5, 5 * n)),
        lambda n: (each for d in (1, 2, 6) for each in cell_rows(100, d, 12.5, 5 * n)),
    ),
    Quantity(
        "mean volume; formation and relaxation volumes",
        (
            "volume_error_A3",
            "formation_volume_error_A3",
            "relaxation_volume_error_A3",
            "volume_independent_error_A3",
        ),
        "autocovariances of all replicas, few samples; differences in quadrature",
        ("test_means_sizes_transitions_and_volumes",),
        partial(volumes, ((1000, 1), (500, 4))),
        partial(volumes, ((100, 1), (50, 4))),
    ),
    Quantity(
        "vacancies, Schottky defects, Frenkel pairs, μ, stability of a compound, differences of phases; ln c",
        (
            "frenkel_ladd_error_eV",
            "alchemical_error_eV",
            "difference_error_eV",
            "independent_error_eV",
            "stability_error_eV",
            "shared_error_eV",
            "errors_eV",
            "margin_error_eV_per_atom",
            "ln_error",
        ),
        "in quadrature; what two parts share is counted once",
        ("test_vacancies_defects_and_other_sums",),
        partial(sums, 1.0),
        partial(sums, 3.0),
    ),
    Quantity(
        "limit of large cells: G, G_f of a vacancy",
        ("errors_eV_per_atom", "limit_error_eV_per_atom", "limit_error_eV"),
        "weighted straight line in 1/N",
        ("test_means_sizes_transitions_and_volumes",),
        lambda n: (size_row(k, n) for k in (2, 3, 4)),
        lambda n: (vacancy_sizes_row(k, n) for k in (2, 3, 4)),
    ),
    Quantity(
        "S_f and H_f of a vacancy",
        ("entropy_error_eV_per_K", "enthalpy_error_eV"),
        "weighted line or parabola in T",
        ("test_means_sizes_transitions_and_volumes",),
        lambda n: (each for k in (2, 3, 4) for each in thermal_rows(k, n)),
        lambda n: (each for k in (5, 8) for each in thermal_rows(k, n)),
    ),
    Quantity(
        "transition temperature",
        ("error_K",),
        "half the interval of 68 % of random draws within the errors of ΔG",
        ("test_means_sizes_transitions_and_volumes",),
        lambda n: (transition_row(k, 2.0, n) for k in (2, 3, 4, 5)),
        lambda n: (transition_row(k, 10.0, n) for k in (2, 3, 4, 5)),
    ),
    Quantity(
        "transitions between curves G(T), melting points: T, latent heat, ΔS, ΔV, dT/dp, quantum shift; boundaries",
        (
            "entropy_error_eV_per_K_per_atom",
            "latent_heat_error_eV_per_atom",
            "volume_change_error_A3_per_atom",
            "boundary_error_K_per_GPa",
            "deviation_errors_K",
            "melting_error_K",
            "quantum_shift_error_K",
        ),
        "half the interval of 68 % of random draws of both curves, which move the values along a curve together; "
        "quantum shift: influences of the switches",
        ("test_transitions_between_curves", "test_boundaries_over_the_pressure"),
        lambda n: (*phase_rows(4, 0.5, 2 * n), *boundary_rows(4, 0.5, 2 * n)),
        lambda n: (*phase_rows(4, 0.9, 2 * n), *boundary_rows(4, 0.9, 2 * n)),
    ),
    Quantity(
        "solid and liquid in contact: growth, melting point",
        ("coexistence_error_K", "crossing_error_K", "rate_error_per_ps"),
        "increments of random walks, correlation of neighbours; weighted straight line in T, χ²; crossing: as above",
        ("test_growth_of_solid_and_liquid_in_contact", "test_transitions_between_curves"),
        lambda n: growth_rows(400, 2 * n),
        lambda n: growth_rows(200, 2 * n),
    ),
    Quantity(
        "means over repeats of a campaign; energy and cell lengths of random arrangements, ordering energy",
        ("random_error_eV", "sampled_error_eV", "errors_A", "estimate_error_K"),
        "scatter/√n, few values",
        ("test_means_sizes_transitions_and_volumes",),
        lambda n: (mean_row(k, 20 * n) for k in (4, 5)),
        lambda n: (mean_row(k, 20 * n) for k in (2, 3)),
    ),
    Quantity(
        "ladders combined over T and p: ΔG, ΔH, ΔS, ΔC_p, ΔV",
        ("delta_h_error_eV", "delta_s_error_eV_per_K", "delta_c_error_eV_per_K", "delta_v_error_A3"),
        "influences of blocks of samples on MBAR, few blocks",
        ("test_combined_ladders", "test_ladders_with_exchanged_temperatures", "test_short_ladders_that_are_combined"),
        lambda n: (*combination_rows(2000, 5.0, n), *exchanged_rows(2000, 5.0, n)),
        lambda n: (*combination_rows(200, 5.0, n), *exchanged_rows(200, 5.0, n), *short_ladder_rows(200, 20.0, n)),
    ),
    Quantity(
        "averages and heat capacity of Monte Carlo",
        (),
        "influences of the samples within and between chains, few samples",
        ("test_averages_of_monte_carlo",),
        partial(chain_rows, 200),
        partial(chain_rows, 20),
    ),
    Quantity(
        "corrections to another potential; their convergence in the number of frames",
        ("curve_errors_eV",),
        "influences of the frames, correlation, few frames; the cumulant: its difference from the exponential average",
        ("test_corrections_to_another_potential",),
        partial(correction_rows, 100, ((0.05, -0.05), (0.2, -0.15), (0.3, -0.2)), (0.0, 1.0)),
        partial(correction_rows, 40, ((0.05, -0.05), (0.1, -0.1)), (0.0, 1.0)),
    ),
    Quantity(
        "corrections of absolute free energies: ΔΔG and ΔΔS of two phases, shift of their transition",
        (
            "difference_error_eV_per_atom",
            "entropy_change_error_eV_per_K_per_atom",
            "shift_error_K",
            "corrected_error_K",
        ),
        "as those of a ladder; the shift: in quadrature with the entropy of the transition",
        ("test_corrections_of_phases",),
        lambda n: state_rows(100, ((0.05, -0.05), (0.2, -0.15)), (0.0, 1.0), 5 * n),
        lambda n: state_rows(40, ((0.05, -0.05), (0.1, -0.1)), (0.0, 1.0), 5 * n),
    ),
    Quantity(
        "corrections with sampled targets (BAR)",
        (),
        "influences of the frames of both potentials on BAR, with their correlation in each run, few frames",
        ("test_corrections_with_sampled_targets",),
        partial(sampled_target_rows, 100, 4, 25, ((0.2, -0.15), (0.8, -0.4)), (0.0, 1.0)),
        partial(sampled_target_rows, 40, 4, 10, ((0.1, -0.1), (0.4, -0.3)), (0.0, 1.0)),
    ),
    Quantity(
        "corrections in two stages",
        (),
        "as in one stage, with the correlation of the influences on both stages",
        ("test_corrections_in_two_stages",),
        lambda n: stages_rows(100, (25, 50), STAGES, (0.0, 1.0), 5 * n),
        lambda n: stages_rows(40, (20,), (((0.05, -0.05), (0.1, -0.1)),), (0.0, 1.0), 5 * n),
    ),
    Quantity(
        "ladders corrected to another potential",
        (),
        "in quadrature, with the covariance of samples that ladder and correction share",
        ("test_corrected_ladders",),
        partial(corrected_ladder_rows, 2000, 100, ((0.2, -0.15), (-0.15, 0.2)), (0.0, 5.0)),
        partial(corrected_ladder_rows, 400, 40, ((0.2, -0.15), (-0.15, 0.2)), (0.0, 5.0)),
    ),
    Quantity(
        "committees: mean over the members, and σ_model",
        ("sigma_model_error_eV",),
        "influences of the frames on the mean and on the spread, correlation, few frames",
        ("test_committees",),
        partial(committee_rows, 100, (0.0, 1.0)),
        partial(committee_rows, 40, (0.0, 1.0)),
    ),
    Quantity(
        "free energy of mixing; x(Δμ); fit of the excess, binodal, coexistence and consolute point",
        (
            "mixing_errors_eV",
            "fraction_error",
            "enthalpy_errors_eV_per_mixing_site",
            "entropy_errors_eV_per_K_per_mixing_site",
            "left_error",
            "right_error",
            "delta_mu_error_eV",
            "temperature_error_K",
        ),
        "influences of blocks of samples on MBAR, few blocks; for phase diagrams the scatter of random draws of them",
        ("test_free_energies_of_mixing",),
        partial(mixing_rows, 400, 0.5),
        partial(mixing_rows, 40, 0.2),
    ),
    Quantity(
        "committees on a free energy of mixing: ΔG_mix, gap and consolute point of a member; mean and σ_model",
        ("change_errors_eV", "consolute_error_K", "sigma_model_error"),
        "influences of the frames at each composition; linear in the coefficients of both fits",
        ("test_committees_on_free_energies_of_mixing",),
        partial(mixing_committee_rows, 100, (0.0, 1.0)),
        lambda n: mixing_committee_rows(40, (0.0, 1.0), 5 * n),
    ),
    Quantity(
        "order, heat capacity and cumulants against temperature; transition temperatures from them",
        (
            "energy_errors_eV",
            "heat_capacity_errors_eV_per_K",
            "order_errors",
            "order_cumulant_errors",
            "energy_cumulant_errors",
        ),
        "half the interval of 68 % of random draws of blocks of samples in MBAR over temperatures, few blocks",
        ("test_transitions_between_order_and_disorder",),
        partial(transition_rows, 400, 0.5),
        partial(transition_rows, 100, 0.2),
    ),
    Quantity(
        "committees on a transition: its temperature with a member; mean and σ_model",
        ("sigma_model_error_K",),
        "half the interval of 68 % of random draws, common to all samples, frames and members",
        ("test_committees_on_transitions",),
        partial(transition_committee_rows, 1600, 400, 0.5),
        partial(transition_committee_rows, 1600, 100, 0.5),
    ),
)


def table(lines: Iterable[Sequence[str]], headings: Sequence[str]) -> str:
    """Return a table in Markdown."""
    every = [headings, ["---"] * len(headings), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in every)


def summary(quantity: Quantity, found: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the line of a quantity: ranges of both fractions at both settings, and the number of rows that hold."""
    rows = [*found["default"], *found["tenth"]]
    return [
        quantity.name,
        quantity.error,
        ", ".join(f"`{name}`" for name in quantity.tests),
        *("; ".join(_range([each.value[k] for each in found[when]]) for k in (0, 1)) for when in found),
        f"{sum(each.holds for each in rows)} of {len(rows)}",
    ]


def _range(shares: Sequence[float]) -> str:
    return "–".join(dict.fromkeys(f"{100 * share:.0f}" for share in (min(shares), max(shares))))


def line(each: Row) -> list[str]:
    """Return the line of a row."""
    one, two = (f"{100 * share:.0f}" for share in each.value)
    return [each.name, one, two, f"{100 * each.warned:.0f}", "yes" if each.holds else "NO"]


def stored(file: Path | None) -> dict[str, dict[str, list[Row]]]:
    """Return the rows in a file, by quantity and settings."""
    if file is None or not file.exists():
        return {}
    content = json.loads(file.read_text())
    return {
        name: {when: [Row(**{**each, "value": tuple(each["value"])}) for each in rows] for when, rows in parts.items()}
        for name, parts in content.items()
    }


def main() -> int:
    """Print the tables and write the rows to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200, help="number of repeats of each row [default: %(default)s]")
    parser.add_argument("--quick", action="store_true", help="use 4 repeats, to try the script")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="only quantities whose name contains one of these words"
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file, and read those that it contains")
    chosen = parser.parse_args()
    found, n = stored(chosen.json), 4 if chosen.quick else chosen.repeats
    wanted = [each for each in QUANTITIES if any(word in each.name for word in chosen.only)]
    for quantity in wanted:
        if quantity.name not in found:
            print(quantity.name, file=sys.stderr, flush=True)
            found[quantity.name] = {"default": list(quantity.default(n)), "tenth": list(quantity.tenth(n))}
        if chosen.json:
            content = {
                name: {w: [asdict(r) for r in rows] for w, rows in parts.items()} for name, parts in found.items()
            }
            chosen.json.write_text(json.dumps(content, indent=1, ensure_ascii=False))
    percent = "within 1; 2 errors (%)"
    headings = ("quantity", "error", "tests", f"default: {percent}", f"a tenth: {percent}", "rows that hold")
    print(table((summary(each, found[each.name]) for each in wanted), headings))
    print()
    every = [each for quantity in wanted for rows in found[quantity.name].values() for each in rows]
    print(
        table(map(line, every), ("number", "within 1 error (%)", "within 2 errors (%)", "with a warning (%)", "holds"))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
