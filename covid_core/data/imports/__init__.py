"""What becomes a data set: folders, archives and tables as people have them."""
