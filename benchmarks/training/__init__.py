"""How long trainings take, beside plain Keras and PyTorch, and how accurate they are."""
