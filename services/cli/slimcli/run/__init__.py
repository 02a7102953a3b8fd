"""Commands that run services and prepare them."""
