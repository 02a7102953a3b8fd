"""What every trainer does between two steps: checkpoints, processes, throughput."""
