"""The models: what their files hold, how they are made, checked and compared."""
