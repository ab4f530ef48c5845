"""SGLang and vLLM: in this process (`sglang.py`, `vllm.py`), or as servers (`launch.py`)."""
