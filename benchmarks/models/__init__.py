"""What finished models read, how they compare, and what they are worth elsewhere."""
