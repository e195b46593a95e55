"""Verbs of the command line by subject; ``covid_core.commands.main`` gathers them."""
