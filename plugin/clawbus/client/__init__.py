"""The client of people and programs: start tasks, wait for them, read and send messages, do an agent's tasks.

Programs import the names from `clawbus` itself (docs/python.md).
"""
