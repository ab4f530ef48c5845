"""Several processes on one run: which rank this one is, and ranks on this machine."""
