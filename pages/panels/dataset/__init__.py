"""The parts of the Data set page."""
