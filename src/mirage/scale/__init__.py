"""Several processes on one run: which rank this one is, ranks on this machine and on clusters, and
the servers that run there.
"""
