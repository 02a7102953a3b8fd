"""What an operator sees: metrics, health, gaps, trace context."""
