"""Messages: typed once in `table`, made in `build` and `bars`, written by `encoding`, for every transport."""
