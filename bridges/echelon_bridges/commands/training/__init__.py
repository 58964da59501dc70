"""One module per sub-command of `train`; the table is `train.ACTIONS`. Heavy imports stand inside the functions."""
