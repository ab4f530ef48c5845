"""The command line: arguments parsed, what came of it printed, and nothing else.

    app.py         the group of commands, and what every error looks like
    options.py     the flags that commands share
    text.py        words, numbers and layout
    live.py        a run as it goes
    run.py, check.py, preview.py, status.py, server.py, completion.py     the commands

The first four are shared. Only click is loaded here; commands load what they need when they run,
so that `mirage --help` answers at once.
"""

from mirage.cli.app import console, main

__all__ = ["console", "main"]
