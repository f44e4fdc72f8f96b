"""EmoNets (Kahou et al. 2013, 2015)."""
