"""OpenClaw on this machine: find, install, configure and join it."""
