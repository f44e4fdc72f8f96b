"""The default bundle: both networks, calibrated and fused."""
