"""Long work: its queue, and the process that does it."""
