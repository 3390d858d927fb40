#!/usr/bin/env python3
"""Configurations for web servers and services, in a clone: `python3 mkconfig.py --help`."""

import sys

try:
    from fileserver.cli.mkconfig import mkconfig
except ModuleNotFoundError as error:
    sys.exit(f"{error}; run `make run` once, then use .venv/bin/python instead of python3")

if __name__ == "__main__":
    mkconfig(prog_name="mkconfig.py")
