"""What needs a machine of its own: root, a mount, a system package (`make test-host`)."""
