"""Backends: the models that can be evaluated alchemically, loaded by name or from a file."""

from alchemflows.alchemy.backends.loading import load_potential, resolve

__all__ = ["load_potential", "resolve"]
