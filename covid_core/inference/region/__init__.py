"""What networks are shown of images where that depends on the image."""
