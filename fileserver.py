#!/usr/bin/env python3
"""The command line in a clone: `python3 fileserver.py --help`."""

from fileserver.cli.main import cli

if __name__ == "__main__":
    cli(prog_name="fileserver.py")
