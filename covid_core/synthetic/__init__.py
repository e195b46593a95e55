"""Drawn chest X-rays: something to try everything on, and to measure it on, without a download."""
