"""The face detector: a student pruned from CenterFace, and taught by it what it can no longer do."""
