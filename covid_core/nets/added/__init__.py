"""Backbones that somebody added: loading them, and the check before one is added."""
