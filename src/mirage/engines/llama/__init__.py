"""The embedded engine, llama.cpp: `engine.py` begins, `demo.py` is the shipped model."""
