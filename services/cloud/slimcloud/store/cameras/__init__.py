"""What is known of each camera: registration, gaps, budgets, refetches."""
