"""What our own calls raise as deprecated is an error in the tests; what libraries do among themselves is not."""

from __future__ import annotations

import warnings

import pytest


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
@pytest.mark.parametrize("module", ["alchemflows", "alchemflows.alchemy.potential"])
def test_our_calls(module, category):
    """A library warns with a stack level that names the caller's module."""
    caller = {"__name__": module, "warn": warnings.warn, "category": category}
    with pytest.raises(category):
        exec("def library():\n    warn('old', category, stacklevel=2)\nlibrary()", caller)


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_calls_of_libraries(category):
    exec("warn('old', category)", {"__name__": "pymatgen.core", "warn": warnings.warn, "category": category})
