"""Bytes on disk: staging, the buckets, and what makes them durable."""
