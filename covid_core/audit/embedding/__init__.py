"""The map of a data set: each image a point, images that are alike side by side; outliers and disputed labels."""
