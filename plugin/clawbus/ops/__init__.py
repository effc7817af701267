"""A company's processes and machines."""
