"""Make free-energy documents from stored samples: collect windows, estimate free energies, add analytic terms."""
