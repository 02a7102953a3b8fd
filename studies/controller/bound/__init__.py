"""What a clairvoyant could reach: a bound by dynamic programming."""
