"""Yao et al. 2015: relations of action units."""
