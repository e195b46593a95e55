"""The parts of one page, a folder each."""
