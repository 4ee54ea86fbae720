"""Figures of the findings table, ready to print. Nothing is computed here."""

from wellspring.figures.panels import controls, layer_accuracy, similarity
from wellspring.figures.style import save

__all__ = ["controls", "layer_accuracy", "save", "similarity"]
