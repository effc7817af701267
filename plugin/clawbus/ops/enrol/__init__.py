"""How a second machine comes in: an invite, the code that it prints, and the conversation in which the code is spent.

The company's own machine keeps the signing keys and hands out credentials; the other one makes its private keys itself,
and they never leave it (docs/adr/0022-second-machine.md).
"""
