"""Predictions: their time, their refusals, and what their probabilities are worth."""
