"""OpenClaw on this machine: found, installed, configured, joined."""
