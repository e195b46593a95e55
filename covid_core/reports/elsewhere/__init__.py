"""Sentences about images from elsewhere."""
