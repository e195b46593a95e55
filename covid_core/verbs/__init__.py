"""Verbs of the command line by subject; ``covid_core.cli`` gathers them."""
