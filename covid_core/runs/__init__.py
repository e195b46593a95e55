"""Long work: its folders, its queue, and the process that does it."""
