"""Everything that must stand before anybody can talk: the embedded nats-server, its users, streams and durables.

Besides `bus` the only package that knows NATS. `server` finds nats-server and writes its configuration, `ports`
says whether a port is free, `permissions` computes who may say what, `streams` makes the streams.
"""
