"""The files of runs and studies, and what reads them."""
