"""Compare ordered and disordered A2BB'O6 perovskites with SevenNet-0 and with experiment.

    python benchmarks/double_perovskites.py [--rows DIR] [--json FILE] [--only Ba2MgWO6 ...] [--sample-at 1300]
    python benchmarks/double_perovskites.py --order-at 1300 [--rows DIR] [--json FILE] [--only Ba2MgWO6 ...]
    python benchmarks/double_perovskites.py --search Ba2MgWO6

For each compound, OrderDisorderMaker relaxes 2×2×2 cubic cells (40 atoms): both alchemical cells, random arrangements,
a quasirandom one, and rocksalt, layered and columnar order. A compound counts as ordered if the energy of the best
order is lower than that of disorder by more than k_B T S at 1300 K, roughly the temperature at which cations stop
moving; S is the ideal entropy. Each finished compound is written to the folder; a new run computes only those that are
missing.

With --sample-at, arrangements are also sampled at this temperature. If the crystal orders, so do they, and their energy
is close to that of the best order. They are therefore judged by their order parameters, as with --order-at.

With --order-at, all 70 arrangements of the eight B sites are averaged at this temperature, with the weights exp(−E/k_B
T), which is exact in this cell and needs no Monte Carlo. E is the energy of the arrangement relaxed from the ideal
cubic positions, which keeps its symmetry, so octahedra do not tilt; there are no vibrations. The B sites have seven
waves: rocksalt (one), layered and columnar (three orientations each). Their order parameters sum to 1, so each kind of
order has a share of it: 1 for perfect order, and 1/7, 3/7 and 3/7 for random arrangements. A compound counts as
ordered if a share is closer to 1 than to its random value.

With --search, print the orders that OrderingSearchMaker finds for one compound.

The experimental orders are from the surveys of Anderson et al., Prog. Solid State Chem. 22, 197 (1993), and Vasala &
Karppinen, Prog. Solid State Chem. 43, 1 (2015).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.units import kB
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.flows.order_disorder import PEROVSKITE_ORDERS, OrderDisorderMaker
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import relaxing
from alchemflows.schemas.ordering import OrderDisorderDocument
from alchemflows.schemas.potential import PotentialSpec

#: A, B, B', initial cubic lattice parameter (Å), experimental order.
COMPOUNDS: dict[str, tuple[str, str, str, float, str]] = {
    "Ba2MgWO6": ("Ba", "Mg", "W", 4.05, "rocksalt"),
    "Ba2CaWO6": ("Ba", "Ca", "W", 4.20, "rocksalt"),
    "Sr2MgWO6": ("Sr", "Mg", "W", 3.96, "rocksalt"),
    "Ba2YTaO6": ("Ba", "Y", "Ta", 4.22, "rocksalt"),
    "Ba2YNbO6": ("Ba", "Y", "Nb", 4.22, "rocksalt"),
    "Sr2MgMoO6": ("Sr", "Mg", "Mo", 3.95, "rocksalt"),
    "Sr2FeMoO6": ("Sr", "Fe", "Mo", 3.95, "rocksalt"),
    "Sr2FeNbO6": ("Sr", "Fe", "Nb", 3.97, "disordered"),
    "Ba2FeNbO6": ("Ba", "Fe", "Nb", 4.06, "disordered"),
    "Sr2MnNbO6": ("Sr", "Mn", "Nb", 3.98, "disordered"),
    "Sr2CrNbO6": ("Sr", "Cr", "Nb", 3.94, "disordered"),
    "Ba2TiZrO6": ("Ba", "Ti", "Zr", 4.11, "disordered"),
    "Sr2TiZrO6": ("Sr", "Ti", "Zr", 4.01, "disordered"),
    "La2CuSnO6": ("La", "Cu", "Sn", 4.05, "layered"),
}
POTENTIAL = PotentialSpec(name="sevennet-0", device="cpu")
FREEZES_K = 1300.0
SUPERCELL = (2, 2, 2)
#: Waves of each kind of order in all orientations.
WAVES = {kind: sorted(set(permutations(wave))) for kind, wave in PEROVSKITE_ORDERS.items()}
PICTURES = ("random", "quasirandom", "sampled", "paired", "mean-field")


def perovskite(a_site: str, b: str, other: str, a_A: float) -> Structure:
    """Return the cubic cell of five atoms, B and B' on one site."""
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(Lattice.cubic(a_A), [a_site, {b: 0.5, other: 0.5}, "O", "O", "O"], sites)


def run(flow: Flow) -> Any:
    """Run a flow in this process and return its document."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    with tempfile.TemporaryDirectory() as folder:
        outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return outputs[flow.jobs[-1].uuid][1].output


def compute(name: str, n_random: int, sampled_K: float | None = None) -> dict[str, Any]:
    """Return the row of a compound, with arrangements sampled at a temperature if there is one."""
    *what, a_A, known = COMPOUNDS[name]
    maker = OrderDisorderMaker(potential=POTENTIAL, n_random=n_random, sampled_temperature_K=sampled_K)
    flow = maker.make(perovskite(*what, a_A), SUPERCELL, PEROVSKITE_ORDERS)
    document = run(flow)
    assert isinstance(document, OrderDisorderDocument)
    return {
        "compound": name,
        "experiment": known,
        "best_ordered": document.best_ordered,
        "ordering_energies_eV_per_atom": document.ordering_energies_eV_per_atom,
        "random_error_eV_per_atom": document.random_error_eV_per_atom,
        "sampled_error_eV_per_atom": document.errors_eV_per_atom_of_disorder.get("sampled"),
        "sampled_shares": [
            shares_of(each.structure, what[1:]) for each in document.arrangements if each.kind == "sampled"
        ],
        "entropy_kB_per_atom": document.entropy_kB_per_atom,
        "energies_eV_per_atom": {each.name: each.energy_eV_per_atom for each in document.arrangements},
        "reasons": document.verdict.reasons,
        "provenance": document.provenance.model_dump(mode="json"),
    }


def order_at(name: str, temperature_K: float) -> dict[str, Any]:
    """Return the row of a compound: the share of each kind of order at a temperature, from all arrangements."""
    *what, a_A, known = COMPOUNDS[name]
    start = time.perf_counter()
    disorder = Disorder(perovskite(*what, a_A), SUPERCELL)
    relax = relaxing(0.05, steps=300, optimizer="BFGS")
    found = [
        (run(Flow([job := relax.make(AlchemicalSystem(each), [], POTENTIAL)], output=job.output)), each, n)
        for each, n in disorder.distinct()
    ]
    energies_eV = np.array([document.energy_eV for document, _, _ in found])
    numbers = np.array([n for _, _, n in found])
    shares = np.array([shares_of(each, what[1:]) for _, each, _ in found])
    weights = numbers * np.exp(-(energies_eV - energies_eV.min()) / (kB * temperature_K))
    weights /= weights.sum()
    return {
        "compound": name,
        "experiment": known,
        "temperature_K": temperature_K,
        "shares": dict(zip(WAVES, (weights @ shares).tolist(), strict=True)),
        "random": dict(zip(WAVES, (numbers @ shares / numbers.sum()).tolist(), strict=True)),
        "ordering_energy_eV_per_atom": float(energies_eV.min() - weights @ energies_eV) / found[0][0].counts.atoms,
        "random_energy_eV_per_atom": float(energies_eV.min() - numbers @ energies_eV / numbers.sum())
        / found[0][0].counts.atoms,
        "energies_eV": energies_eV.tolist(),
        "multiplicities": numbers.tolist(),
        "shares_of_arrangements": shares.tolist(),
        "converged": [document.converged for document, _, _ in found],
        "seconds": time.perf_counter() - start,
        "provenance": found[0][0].provenance.model_dump(mode="json"),
    }


def shares_of(structure: Structure, elements: list[str]) -> list[float]:
    """Return the share of each kind of order in an arrangement, ideal or relaxed, of two elements on the B sites."""
    signs = {elements[0]: 1.0, elements[1]: -1.0}
    sites = [site for site in structure if site.specie.symbol in signs]
    sigma = np.array([signs[site.specie.symbol] for site in sites])
    places = np.rint(np.array([site.frac_coords for site in sites]) * SUPERCELL)
    return [
        sum(float(np.abs(sigma @ np.exp(2j * np.pi * places @ np.array(wave)))) ** 2 for wave in waves)
        / len(sites) ** 2
        for waves in WAVES.values()
    ]


def order_found(shares: dict[str, float], random: dict[str, float]) -> str:
    """Return the kind of order whose share is closer to 1 than to its random value, or disordered."""
    ordered = [kind for kind in WAVES if shares[kind] - random[kind] > 1 - shares[kind]]
    return ordered[0] if ordered else "disordered"


def order_table(rows: list[dict[str, Any]]) -> str:
    """Return the shares of each kind of order as Markdown; results that disagree with experiment are bold."""
    lines = [
        f"| compound | experiment | {' | '.join(WAVES)} | result | best − mean | best − random |",
        f"|---|---|{'---|' * len(WAVES)}---|---|---|",
    ]
    right = 0
    for row in rows:
        shares = row["shares"]
        result = order_found(shares, row["random"])
        agrees = result == row["experiment"]
        right += agrees
        cells = " | ".join(f"{shares[kind]:.2f}" for kind in WAVES)
        result = result if agrees else f"**{result}**"
        energies = (1e3 * row[key] for key in ("ordering_energy_eV_per_atom", "random_energy_eV_per_atom"))
        cells += " | " + " | ".join([result, *(f"{energy:.1f}" for energy in energies)])
        lines.append(f"| {row['compound']} | {row['experiment']} | {cells} |")
    return "\n".join([*lines, f"| correct | |{' |' * len(WAVES)} {right} of {len(rows)} | | |"])


def search(name: str) -> str:
    """Return the result of a search as a table."""
    *what, a_A, known = COMPOUNDS[name]
    cell = perovskite(*what, a_A)
    maker = OrderingSearchMaker(potential=POTENTIAL, search_maker=SearchMaker(n_starts=8, n_relaxed=3))
    found = run(maker.make(cell, SUPERCELL))
    disorder = Disorder(cell, SUPERCELL)
    orders = {key: disorder.wave(wave, cell) for key, wave in PEROVSKITE_ORDERS.items()}
    lines = [f"{name}: experiment finds {known}", "| order | starts of 8 | meV/atom above the best |", "|---|---|---|"]
    for each in found.arrangements:
        # The arrangement without its displacements: which element is at which site.
        symbols = [site.specie.symbol for site in each.structure]
        same = [key for key, order in orders.items() if _alike(disorder, symbols, order)]
        above = 1e3 * (each.energy_eV_per_atom - found.arrangements[0].energy_eV_per_atom)
        lines.append(f"| {same[0] if same else 'another'} | {each.n_starts} | {above:.1f} |")
    return "\n".join(lines)


def _alike(disorder: Disorder, symbols: list[str], order: Structure) -> bool:
    (sublattice,) = disorder.sublattices
    keys = [
        disorder.same_by_symmetry([np.array([sublattice.symbols.index(those[site]) for site in sublattice.sites])])
        for those in (symbols, [site.specie.symbol for site in order])
    ]
    return keys[0] == keys[1]


def says_ordered(row: dict[str, Any], picture: str) -> bool:
    """Return whether order is favoured at the temperature at which cations stop moving.

    The energy of sampled arrangements cannot tell: it is that of the best order if they are ordered.
    """
    if picture == "sampled":
        n_waves = sum(map(len, WAVES.values()))
        random = {kind: len(waves) / n_waves for kind, waves in WAVES.items()}
        shares = np.mean(row["sampled_shares"], axis=0).tolist()
        return order_found(dict(zip(WAVES, shares, strict=True)), random) != "disordered"
    threshold = -kB * FREEZES_K * row["entropy_kB_per_atom"]
    return row["ordering_energies_eV_per_atom"][picture] < threshold


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table as Markdown, energies in meV/atom; values that disagree with experiment are bold."""
    pictures = [each for each in PICTURES if all(each in row["ordering_energies_eV_per_atom"] for row in rows)]
    threshold = 1e3 * kB * FREEZES_K * rows[0]["entropy_kB_per_atom"]
    lines = [
        f"| compound | experiment | best order | {' | '.join(pictures)} |",
        f"|---|---|---|{'---|' * len(pictures)}",
    ]
    right = dict.fromkeys(pictures, 0)
    for row in rows:
        cells = []
        for picture in pictures:
            agrees = says_ordered(row, picture) == (row["experiment"] != "disordered")
            right[picture] += agrees
            value = f"{1e3 * row['ordering_energies_eV_per_atom'][picture]:.1f}"
            if (error := row.get(f"{picture}_error_eV_per_atom")) is not None:
                value += f" ± {1e3 * error:.1f}"
            cells.append(value if agrees else f"**{value}**")
        lines.append(f"| {row['compound']} | {row['experiment']} | {row['best_ordered']} | {' | '.join(cells)} |")
    counts = " | ".join(f"{right[picture]} of {len(rows)}" for picture in pictures)
    lines.append(f"| correct of {len(rows)} (below −{threshold:.1f}: ordered) | | | {counts} |")
    return "\n".join(lines)


def main() -> None:
    """Compute missing compounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=Path("double_perovskites"), help="folder of finished compounds")
    parser.add_argument("--json", type=Path, help="file for all rows")
    parser.add_argument("--only", nargs="+", default=list(COMPOUNDS), choices=list(COMPOUNDS))
    parser.add_argument("--search", choices=list(COMPOUNDS), help="only search for the order of this compound")
    parser.add_argument("--random", type=int, default=4, help="number of random arrangements")
    parser.add_argument("--sample-at", type=float, help="also sample arrangements at this temperature (K)")
    parser.add_argument(
        "--order-at", type=float, help="only average the order of all arrangements at this temperature (K)"
    )
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.search:
        print(search(arguments.search))
        return
    arguments.rows.mkdir(parents=True, exist_ok=True)
    at_K = arguments.order_at
    compute_row: Callable[[str], dict[str, Any]]
    if at_K is None:
        sampled_K = arguments.sample_at
        show, suffix = table, "" if sampled_K is None else f"-sampled-{sampled_K:g}K"
        compute_row = partial(compute, n_random=arguments.random, sampled_K=sampled_K)
    else:
        show, suffix = order_table, f"-order-{at_K:g}K"
        compute_row = partial(order_at, temperature_K=at_K)
    rows = []
    for name in arguments.only:
        path = arguments.rows / f"{name}{suffix}.json"
        if not path.exists():
            path.write_text(json.dumps(compute_row(name), indent=1) + "\n")
        rows.append(json.loads(path.read_text()))
        print(show(rows[-1:]).splitlines()[2], flush=True)
    print("\n" + show(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
