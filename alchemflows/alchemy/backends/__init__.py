"""Load machine-learning potentials by name or from a file, and evaluate them on alchemical graphs."""

from alchemflows.alchemy.backends import silent_mace  # noqa: F401  (before any other import of mace)
from alchemflows.alchemy.backends.loading import check_device, load_potential, resolve

__all__ = ["check_device", "load_potential", "resolve"]
