"""The networks that recipes describe: face and voice joined by one head."""
