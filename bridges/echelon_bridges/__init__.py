"""The outer ring: sensors, files and sockets, the processes, and the command line."""
