"""What several sensors become: roles, a latent per device, clocks and jitter. Pure: no socket, no clock of its own."""
