"""Models of the Hugging Face kind in this process, through torch and transformers.

`engine.py` begins; nothing of torch is loaded before an engine is started.
"""
