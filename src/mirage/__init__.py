"""MIRAGE turns the multimodal dataset that you have into the one that you need."""

__version__ = "0.1.0"
