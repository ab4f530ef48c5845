"""Config -> Plan: everything that can fail fails here, before a model is loaded.

`declared` collects the names of a configuration and its mistakes, `inputs` and `outputs` compile
what they say, `graph` puts the steps in order, and `plan` is the whole.
"""

from mirage.plan.plan import Plan, build

__all__ = ["Plan", "build"]
