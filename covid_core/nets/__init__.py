"""Networks: build, train, export. TensorFlow lives here and nowhere else; only worker processes import it."""
