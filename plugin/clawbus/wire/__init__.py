"""The wire format: subjects, channels, envelopes, events, and strict JSON."""
