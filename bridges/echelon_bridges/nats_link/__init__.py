"""Messages over NATS: an outlet with a thread of its own; nothing that a server does reaches who feeds it."""
