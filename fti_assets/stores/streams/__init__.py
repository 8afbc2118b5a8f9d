"""Streams of events that a broker keeps: NATS JetStream, Kafka, Redis Streams."""
