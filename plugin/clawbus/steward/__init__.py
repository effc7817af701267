"""The company's duties: what nobody does by himself. Any number of stewards run side by side, without a leader."""
