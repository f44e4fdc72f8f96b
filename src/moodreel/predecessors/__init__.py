"""Two winners of the EmotiW challenge, part by part: EmoNets (2013) and Yao et al. (2015)."""
