"""Compare the ordering search with enumeration for ten small cells of two species, with the potential mace-demo.

    python benchmarks/ordering_search.py [--json FILE] [--starts 16]

For each cell, atoms and cell of all arrangements that differ by symmetry are relaxed. The search (site-resolved descent
from the relaxed mean-field crystal) relaxes its five best results. It has found the best arrangement if its energy is
within 0.1 meV/atom of the lowest. `chance` is the fraction of all arrangements that have the lowest energy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import relaxing
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.relax import RelaxDocument

WITHIN_EV_PER_ATOM = 1e-4
RELAX = replace(relaxing(0.01, steps=1000), require_convergence=False)


def rocksalt(metal: dict[str, float]) -> Structure:
    """Return a primitive rock-salt cell, such as (Na,K)Cl."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), [metal, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return cell.get_primitive_structure()


def fluorite(metal: dict[str, float]) -> Structure:
    """Return a primitive fluorite cell, such as (Ce,Zr)O2."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.3), [metal, "O"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    return cell.get_primitive_structure()


def wurtzite(metal: dict[str, float]) -> Structure:
    """Return a wurtzite cell, such as (Al,Sc)N."""
    sites = [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]]
    return Structure.from_spacegroup(186, Lattice.hexagonal(3.2, 5.1), [metal, "N"], sites)


def perovskite(metal: dict[str, float]) -> Structure:
    """Return cubic Cs(Pb,Sn)I3."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(6.3), ["Cs", metal, "I", "I", "I"], sites)


def cases() -> dict[str, tuple[Structure, tuple[int, int, int]]]:
    """Return the cells."""
    return {
        "(Na,K)Cl, 8 sites": (rocksalt({"Na": 0.5, "K": 0.5}), (2, 2, 2)),
        "(Li,K)Cl, 8 sites": (rocksalt({"Li": 0.5, "K": 0.5}), (2, 2, 2)),
        "(Na,K)Cl, 12 sites": (rocksalt({"Na": 0.5, "K": 0.5}), (3, 2, 2)),
        "(Ce,Zr)O2, 8 sites": (fluorite({"Ce": 0.5, "Zr": 0.5}), (2, 2, 2)),
        "(Ce,Sn)O2, 8 sites": (fluorite({"Ce": 0.5, "Sn": 0.5}), (2, 2, 2)),
        "(Zr,Sn)O2, 12 sites": (fluorite({"Zr": 0.5, "Sn": 0.5}), (3, 2, 2)),
        "(Al,Sc)N, 8 sites": (wurtzite({"Al": 0.5, "Sc": 0.5}), (2, 2, 1)),
        "(Al,Sc)N, 8 sites, 1/4 Sc": (wurtzite({"Al": 0.75, "Sc": 0.25}), (2, 2, 1)),
        "(Al,Ga)N, 12 sites": (wurtzite({"Al": 0.5, "Ga": 0.5}), (3, 2, 1)),
        "Cs(Pb,Sn)I3, 8 sites": (perovskite({"Pb": 0.5, "Sn": 0.5}), (2, 2, 2)),
    }


def relaxed(system: AlchemicalSystem, weights: list[float], potential: PotentialSpec) -> RelaxDocument:
    """Relax in this process."""
    return type(RELAX).make.original(RELAX, system, weights, potential)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--starts", type=int, default=16)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # relaxations leave files
        rows = measure(arguments.starts)
    print(f"\nfound in {sum(row['found'] for row in rows)} of {len(rows)} cells")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure(n_starts: int) -> list[dict[str, Any]]:
    """Print the table row by row, and return its rows."""
    potential, _ = resolve(PotentialSpec(name="mace-demo", device="cpu"))
    rows = []
    print(
        "| cell | different orders | chance | search − best (meV/atom) | starts that reached the search result "
        "| found the best | s, all orders | s, search |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, (structure, supercell) in cases().items():
        disorder = Disorder(structure, supercell)
        start = time.perf_counter()
        documents = [(relaxed(AlchemicalSystem(each), [], potential), n) for each, n in disorder.distinct()]
        every = [(document.energy_eV / disorder.system.n_sites, n) for document, n in documents]
        unfinished = sum(not document.converged for document, _ in documents)
        all_s = time.perf_counter() - start
        best = min(energy for energy, _ in every)
        chance = sum(n for energy, n in every if energy < best + WITHIN_EV_PER_ATOM) / disorder.n_arrangements
        start = time.perf_counter()
        mixed = AlchemicalSystem(disorder.system.structure, disorder.system.groups, "mean-field")
        disordered = relaxed(mixed, disorder.weights.tolist(), potential)
        maker = SearchMaker(potential=potential, relax_maker=RELAX, n_starts=n_starts)
        found = SearchMaker.make.original(maker, structure, supercell, disordered)
        lowest = found.arrangements[0]
        above = lowest.energy_eV_per_atom - best
        rows.append(
            {
                "cell": name,
                "different": len(every),
                "unfinished": unfinished,
                "by_chance": chance,
                "above_best_eV_per_atom": above,
                "starts": lowest.n_starts,
                "found": above < WITHIN_EV_PER_ATOM,
                "seconds_all": all_s,
                "seconds": time.perf_counter() - start,
            }
        )
        row = rows[-1]
        orders = f"{row['different']}" + (f" ({unfinished} did not relax in 1000 steps)" if unfinished else "")
        print(
            f"| {name} | {orders} | {chance:.3f} | {1e3 * above:.2f} "
            f"| {row['starts']} of {n_starts} | {'yes' if row['found'] else 'no'} "
            f"| {all_s:.0f} | {row['seconds']:.0f} |",
            flush=True,
        )
    return rows


if __name__ == "__main__":
    main()
