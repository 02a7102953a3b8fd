"""What is kept in Redis: frames, cameras, work, events, and their retention."""
