"""What compares and tunes: outside the product, which never imports it."""
