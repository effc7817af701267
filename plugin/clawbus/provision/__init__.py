"""What must stand before anybody can talk: the embedded nats-server, its users, the streams and the durables.

Besides `bus` the only package that knows NATS. `server` finds nats-server and writes its configuration, `ports`
says whether a port is free, `permissions` computes who may say what, `streams` makes the streams.
"""
