"""The two challenge winners that the study measured itself against, rebuilt."""
