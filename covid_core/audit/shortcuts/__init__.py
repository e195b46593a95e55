"""Shortcut learning: can the class be predicted without the lungs?"""
