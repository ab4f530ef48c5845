"""Mirage measured against hand-written clients: `bench/run`, see README.md."""
