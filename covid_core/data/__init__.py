"""Images on disk to a table, a split and grey pixels in memory."""
