"""The sound network: whether it is speech that sounds, or laughter, crying, music and the like."""
