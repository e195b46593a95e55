"""Whether a batch of images without labels differs from the images that a run was trained on."""
