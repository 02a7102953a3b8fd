"""What people review: what the objects of one camera did together, made of its tracks."""
