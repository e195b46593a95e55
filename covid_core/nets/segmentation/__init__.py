"""The small network that outlines lungs: its layers, its augmentation, its training."""
