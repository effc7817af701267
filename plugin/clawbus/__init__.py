"""clawbus puts every OpenClaw gateway of a company of AI agents on NATS JetStream."""

__version__ = "0.1.0"
