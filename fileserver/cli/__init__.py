"""The command line: `python3 fileserver.py` in a clone, `recodex-fileserver` where it is installed."""
