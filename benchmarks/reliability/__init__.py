"""What must not go wrong: the measurements of ``benchmarks.scorecard``."""
