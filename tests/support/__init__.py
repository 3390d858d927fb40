"""Helpers of the tests: real servers as subprocesses, clients that imitate the real ones, and checks."""
