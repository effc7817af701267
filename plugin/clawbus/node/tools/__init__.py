"""The six tools that an agent's model sees: what they take, and what they do."""
