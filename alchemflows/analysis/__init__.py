"""From stored samples to documents: collect windows, estimate free energies, add analytic terms."""
