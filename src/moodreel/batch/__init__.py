"""One map over many clips: in this process, in processes here, in shards on other machines."""
