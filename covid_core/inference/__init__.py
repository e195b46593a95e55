"""One film to scores and a heat map, without TensorFlow."""
