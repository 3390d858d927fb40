"""Rules without input or output: names, digests, limits, errors."""
