"""What a visitor takes away, and what he brings in, on any page."""
