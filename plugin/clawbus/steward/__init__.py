"""The steward: it does the duties of the company. Any number of stewards run side by side, without a leader."""
