"""Commands of the controller's study."""
