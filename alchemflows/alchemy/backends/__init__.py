"""Load machine-learning potentials by name or from a file, and evaluate them on alchemical graphs."""

import warnings

from alchemflows.alchemy.backends import silent_mace  # noqa: F401  (before any other import of mace)
from alchemflows.alchemy.backends.loading import check_device, check_name, load_potential, resolve

# Raised by torch for modules of e3nn whenever a model is built (seen in torch 2.13.0).
warnings.filterwarnings("ignore", message="The TorchScript type system doesn't support instance-level annotations")

__all__ = ["check_device", "check_name", "load_potential", "resolve"]
