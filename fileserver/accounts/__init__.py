"""Who may use the server: password files, group files, signing keys, and how often somebody may guess. No HTTP."""
