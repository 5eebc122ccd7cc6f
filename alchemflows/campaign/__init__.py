"""Campaigns: many calculations from one YAML file."""
