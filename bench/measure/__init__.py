"""Measuring a trained model: distances, bounds and interpolations as pure functions, and the loop that takes every metric."""
