"""What is wrong with a data set, and what a model reads. Everything here is kept, and made by jobs."""
