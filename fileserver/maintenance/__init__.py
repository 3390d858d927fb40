"""What keeps a working directory sound for years: checks, retention, backups, statistics."""
