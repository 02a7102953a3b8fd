"""What the edge still holds: frames in flight, recent pictures, the spool on disk."""
