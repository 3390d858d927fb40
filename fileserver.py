#!/usr/bin/env python3
"""The command line in a clone: `python3 fileserver.py --help`."""

import sys

try:
    from fileserver.cli.main import cli
except ModuleNotFoundError as error:
    sys.exit(f"{error}; run `make run` once, then use .venv/bin/python instead of python3")

if __name__ == "__main__":
    cli(prog_name="fileserver.py")
