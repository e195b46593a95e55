"""One image to scores and a heat map, without TensorFlow."""
