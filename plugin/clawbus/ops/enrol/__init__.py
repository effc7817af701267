"""Enrolment of a second machine: an invite, the code that it prints, and the exchange that spends the code.

The company's own machine has the signing keys and hands out credentials. The other machine makes its private keys by
itself, and they never leave it (docs/adr/0022-second-machine.md).
"""
