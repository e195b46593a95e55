"""What concerns the server and not a page: what it does when it starts, and who may see it."""
