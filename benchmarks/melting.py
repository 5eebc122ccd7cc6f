"""Melting point of the Lennard-Jones crystal at one pressure, by the jobs of `alchemflows melting`.

    python benchmarks/melting.py --cells 3 --json FILE
    python benchmarks/melting.py --cells 3 --steps 700 --coexistence 6
    python benchmarks/melting.py --cells 3 --liquid 1.0

The potential is Lennard-Jones, truncated at a cutoff, with the mean energy and pressure beyond the cutoff. Results are
in units of ε and σ, beside the published melting point (`benchmarks/lennard_jones.py`). With --liquid, the excess free
energy of the liquid at one temperature is computed instead, beside the published equation of state at the same density.
With --coexistence, solid and liquid are put in contact at several temperatures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ase import units
from jobflow import Flow, JobStore, run_locally
from lennard_jones import excess_free_energy, melting_temperature
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows import FrenkelLaddMaker, LiquidFreeEnergyMaker, MeltingPointMaker
from alchemflows.alchemy.backends import load_potential
from alchemflows.schemas.coexistence import CoexistenceDocument
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.potential import PotentialSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from liquids import lennard_jones

#: ε (eV) and σ (Å), for atoms with the mass of aluminium, an element of mace-demo.
EPSILON, SIGMA = 0.1, 2.6
KELVIN, PRESSURE_GPA = EPSILON / units.kB, EPSILON / SIGMA**3 / units.GPa
DEMO = PotentialSpec(name="mace-demo", device="cpu")


def lennard_jones_model(cutoff: float, *_: Any) -> Any:
    """Return the Lennard-Jones potential with a cutoff (σ) in place of that of a job."""
    found = lennard_jones(EPSILON, SIGMA, cutoff)
    found.record = load_potential(DEMO).record
    return found


def crystal(n_cells: int) -> Structure:
    """Return a face-centred cubic crystal of n_cells³ conventional cells."""
    cubic = Structure.from_spacegroup("Fm-3m", Lattice.cubic(1.62 * SIGMA), ["Al"], [[0, 0, 0]])
    return cubic * ((n_cells,) * 3)


def result_of(flow: Flow, cutoff: float) -> Any:
    """Run a flow with the Lennard-Jones potential with a cutoff (σ) and return its output."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    with (
        patch("alchemflows.alchemy.potential.AlchemicalPotential", partial(lennard_jones_model, cutoff)),
        tempfile.TemporaryDirectory() as folder,
    ):
        responses = run_locally(
            flow, store=store, create_folders=True, root_dir=folder, raise_immediately=True, log=False
        )
    return responses[flow.output.uuid][1].output


def melting_point(
    n_cells: int,
    pressure: float,
    temperatures: tuple[float, float],
    steps: int,
    cutoff: float,
    seed: int = 0,
    n_coexistence: int = 0,
) -> MeltingDocument:
    """Return the result for a cubic cell of n_cells³ conventional cells; lengths are proportional to `steps`."""
    absolute = FrenkelLaddMaker(
        potential=DEMO,
        pressure_GPa=pressure * PRESSURE_GPA,
        timestep_fs=4.0,
        n_cell_steps=3 * steps,
        n_equilibration_steps=steps,
        n_sampling_steps=steps,
        n_switching_steps=2 * steps,
        relax_maker=None,
        seed=seed,
    )
    maker = MeltingPointMaker(
        frenkel_ladd_maker=absolute,
        n_equilibration_steps=steps,
        n_switching_steps=4 * steps,
        n_heating_steps=3 * steps,
        heating_temperature=1.25 * KELVIN,
        n_coexistence_temperatures=n_coexistence,
        n_coexistence_steps=6 * steps,
    )
    document: MeltingDocument = result_of(maker.make(crystal(n_cells), [t * KELVIN for t in temperatures]), cutoff)
    return document


def liquid(n_cells: int, pressure: float, temperature: float, steps: int, cutoff: float) -> dict[str, Any]:
    """Return the excess free energy per atom of the liquid, beside that of the equation of state at its density."""
    maker = LiquidFreeEnergyMaker(
        potential=DEMO,
        temperature=temperature * KELVIN,
        pressure_GPa=pressure * PRESSURE_GPA,
        timestep_fs=4.0,
        n_cell_steps=3 * steps,
        n_equilibration_steps=steps,
        n_switching_steps=4 * steps,
        n_heating_steps=2 * steps,
        heating_temperature=1.3 * KELVIN,
        seed=1,
    )
    found: LiquidFreeEnergyDocument = result_of(maker.make(crystal(n_cells)), cutoff)
    n_atoms = found.counts.atoms
    density = n_atoms * SIGMA**3 / found.volume_A3
    return {
        "atoms": n_atoms,
        "cutoff": cutoff,
        "temperature": temperature,
        "density": density,
        "excess_free_energy": (found.excess_eV + found.switching_eV) / n_atoms / EPSILON,
        "error": found.switching_error_eV / n_atoms / EPSILON,
        "published": excess_free_energy(temperature, density),
        "verdict": found.verdict.reasons,
    }


def melting(
    n_cells: int, pressure: float, temperatures: tuple[float, float], steps: int, cutoff: float, n_coexistence: int = 0
) -> dict[str, Any]:
    """Return the melting point beside the published one, and that of solid and liquid in contact."""
    found = melting_point(n_cells, pressure, temperatures, steps, cutoff, n_coexistence=n_coexistence)
    result: dict[str, Any] = {
        "atoms": found.counts.atoms,
        "cutoff": cutoff,
        "pressure": pressure,
        "published": melting_temperature(pressure),
        "melting": None if found.melting_K is None else found.melting_K / KELVIN,
        "melting_error": None if found.melting_error_K is None else found.melting_error_K / KELVIN,
        "verdict": found.verdict.reasons,
    }
    if found.latent_heat_eV_per_atom is not None and found.volume_change_A3_per_atom is not None:
        result["latent_heat"] = found.latent_heat_eV_per_atom / EPSILON
        result["volume_change"] = found.volume_change_A3_per_atom / SIGMA**3
    if found.coexistence is not None:
        result["coexistence"] = of_contact(found.coexistence)
    return result


def of_contact(found: CoexistenceDocument) -> dict[str, Any]:
    """Return the growth of solid and liquid in contact, in units of ε and σ and of 1/ps."""

    def reduced(temperature_K: float | None) -> float | None:
        return None if temperature_K is None else temperature_K / KELVIN

    return {
        "atoms": found.counts.atoms,
        "layers": found.n_layers,
        "time_ps": found.times_ps[-1],
        "melting": reduced(found.melting_K),
        "melting_error": reduced(found.melting_error_K),
        "deviation_sigma": found.deviation_sigma,
        "chi_squared_per_degree": found.chi_squared_per_degree,
        "solid_grows_to": reduced(found.solid_grows_to_K),
        "liquid_grows_from": reduced(found.liquid_grows_from_K),
        "points": [
            {
                "temperature": reduced(each.temperature_K),
                "rate": each.rate_per_ps,
                "rate_error": each.rate_error_per_ps,
                "grows": each.grows,
                "sections": each.n_measured,
                "first": [row[0] for row in each.solid_fractions],
                "last": [row[-1] for row in each.solid_fractions],
            }
            for each in found.points
        ],
    }


def main() -> None:
    """Compute the melting point, and print or write it beside the published one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=3, help="conventional cells along each axis (4 atoms each)")
    parser.add_argument("--pressure", type=float, default=1.0, help="pressure (ε/σ³)")
    parser.add_argument("--from", dest="low", type=float, default=0.7, help="lowest temperature (ε/k_B)")
    parser.add_argument("--to", dest="high", type=float, default=0.85, help="highest temperature (ε/k_B)")
    parser.add_argument("--steps", type=int, default=1000, help="unit of all numbers of steps")
    parser.add_argument("--cutoff", type=float, default=2.5, help="cutoff of the potential (σ)")
    parser.add_argument("--coexistence", type=int, default=0, help="temperatures with solid and liquid in contact")
    parser.add_argument("--liquid", type=float, metavar="T", help="temperature (ε/k_B) of the free energy of a liquid")
    parser.add_argument("--json", type=Path, help="file for the result")
    options = parser.parse_args()
    started = time.process_time()
    if options.liquid is not None:
        result = liquid(options.cells, options.pressure, options.liquid, options.steps, options.cutoff)
    else:
        temperatures = (options.low, options.high)
        lengths = (options.steps, options.cutoff, options.coexistence)
        result = melting(options.cells, options.pressure, temperatures, *lengths)
    result["cpu_s"] = time.process_time() - started
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
