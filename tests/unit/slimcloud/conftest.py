"""What the cloud's unit tests share: a real Redis per process, empty for each test."""
