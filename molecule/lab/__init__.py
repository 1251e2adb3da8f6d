"""A rehearsal of any inventory: one throw-away machine per host, at that host's own address. See README.md."""
