"""The rows of the promises: which test shows each one, and which break of the product turns that test red."""
