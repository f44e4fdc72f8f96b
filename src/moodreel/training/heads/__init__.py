"""The last layers of a late bundle's networks, fitted on many corpora so that strangers are answered better."""
