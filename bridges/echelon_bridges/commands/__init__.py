"""One module per command; the table is `cli.COMMANDS`. Heavy imports stand inside the functions."""
