"""Training: pictures, losses, loops, evaluation, export. Nothing that serves imports it."""
