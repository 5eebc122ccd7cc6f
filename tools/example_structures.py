"""Write the CIFs of `alchemflows example structures`, from the package's prototypes.

    python tools/example_structures.py

Lattice parameters are those relaxed with mace-demo at 0 K (docs/mace-demo.md) where its first line says so, linear in
the composition for mixtures, and approximate otherwise. Free coordinates are those of the prototypes, not relaxed.
"""

from __future__ import annotations

from pathlib import Path

from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from alchemflows.structures import prototypes

FOLDER = Path(__file__).parents[1] / "alchemflows" / "data" / "examples" / "structures"
RELAXED = "lattice parameters relaxed with mace-demo"
VEGARD = "lattice parameters linear between those relaxed with mace-demo"
APPROXIMATE = "approximate lattice parameters; mace-demo does not know all elements"
GUESSED = "approximate lattice parameter; mace-demo was not made for this crystal"


def structures() -> dict[str, tuple[str, Structure]]:
    """Return what each file holds: a line of text, and the structure."""
    made: dict[str, tuple[str, Structure]] = {}
    for metal, alpha_A, delta_A in (
        ("Pb", 6.391, (11.150, 4.829, 18.286)),
        ("Sn", 6.291, (11.027, 4.763, 18.195)),
    ):
        cubic = prototypes.alpha_perovskite(metal, alpha_A)
        made[f"Cs{metal}I3"] = f"cubic perovskite, α; {RELAXED}", cubic
        delta = stretched(prototypes.delta_perovskite(metal), Lattice.orthorhombic(*delta_A))
        made[f"Cs{metal}I3_delta"] = f"NH4CdCl3 type, δ; {RELAXED}", delta
    mixed = mixture(prototypes.alpha_perovskite("Pb", 6.341), "Pb", {"Pb": 0.5, "Sn": 0.5})
    made["CsPb0.5Sn0.5I3"] = f"cubic perovskite, Pb and Sn disordered; {VEGARD}", mixed
    for metal, a_A in (("Li", 5.140), ("Na", 5.693), ("K", 6.386)):
        made[f"{metal}Cl"] = f"rock salt; {RELAXED}", prototypes.rocksalt_chloride(metal, a_A)
    salt = prototypes.rocksalt_chloride("Na", 6.0395)
    made["Na0.5K0.5Cl"] = f"rock salt, Na and K disordered; {VEGARD}", mixture(salt, "Na", {"Na": 0.5, "K": 0.5})
    made["Fe"] = f"bcc; {RELAXED}", prototypes.bcc_iron(2.838)
    potassium = Structure(Lattice.cubic(5.33), ["K", "K"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    made["K"] = "bcc; approximate lattice parameter; mace-demo was not made for this metal", potassium
    for metal, a_A in (("Ce", 5.464), ("Zr", 5.149)):
        made[f"{metal}O2"] = f"fluorite; {RELAXED}", prototypes.fluorite_oxide(metal, a_A)
    oxide = prototypes.fluorite_oxide("Ce", 5.3065)
    made["Ce0.5Zr0.5O2"] = f"fluorite, Ce and Zr disordered; {VEGARD}", mixture(oxide, "Ce", {"Ce": 0.5, "Zr": 0.5})
    zirconia = mixture(prototypes.fluorite_oxide("Zr", 5.1), "Zr", {"Zr": 0.5, "Sc": 0.5})
    made["Zr0.5Sc0.5O1.75"] = (
        f"fluorite, Zr and Sc disordered, O vacancies; {GUESSED}",
        mixture(zirconia, "O", {"O": 0.875}),
    )
    for metal, a_A, c_A in (("Al", 3.127, 5.021), ("Ga", 3.217, 5.244)):
        made[f"{metal}N"] = f"wurtzite; {RELAXED}", prototypes.wurtzite_nitride(metal, a_A, c_A)
    strained = prototypes.wurtzite_nitride("Al", 3.217, 5.244)
    made["AlN_on_GaN"] = f"wurtzite AlN with the lattice parameters of GaN; {RELAXED}", strained
    nitride = mixture(prototypes.wurtzite_nitride("Al", 3.276, 4.88675), "Al", {"Al": 0.75, "Sc": 0.25})
    made["Al0.75Sc0.25N"] = f"wurtzite, Al and Sc disordered; {VEGARD}", nitride
    for halogen in ("I", "Cl"):
        made[f"BiS{halogen}"] = f"SbSI type; {APPROXIMATE}", prototypes.bismuth_sulfohalide(halogen)
    oxide = prototypes.alpha_perovskite("W", 4.05)
    oxide.replace_species({"Cs": "Ba", "I": "O"})
    made["Ba2MgWO6"] = (
        f"cubic perovskite, Mg and W disordered; {APPROXIMATE}",
        mixture(oxide, "W", {"Mg": 0.5, "W": 0.5}),
    )
    return made


def stretched(structure: Structure, lattice: Lattice) -> Structure:
    """Return a structure in another cell, with the same fractional coordinates."""
    return Structure(lattice, structure.species, structure.frac_coords)


def mixture(structure: Structure, element: str, species: dict[str, float]) -> Structure:
    """Return a structure with a mixture on all sites of an element."""
    mixed = structure.copy()
    mixed.replace_species({element: species})
    return mixed


def main() -> None:
    """Write all files."""
    for name, (text, structure) in structures().items():
        cif = str(CifWriter(structure, symprec=1e-3, significant_figures=6))
        body = cif.split("\n", 1)[1]  # without pymatgen's own comment
        (FOLDER / f"{name}.cif").write_text(f"# {text}\n{body}", encoding="utf-8")


if __name__ == "__main__":
    main()
