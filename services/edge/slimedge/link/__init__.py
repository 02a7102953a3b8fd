"""The connection to the cloud: streams, answers, backfill and refetches."""
