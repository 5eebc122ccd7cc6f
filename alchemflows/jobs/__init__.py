"""Jobflow makers, one per task: relax, windows, analyse."""
