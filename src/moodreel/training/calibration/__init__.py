"""How sure a bundle may be, and how face and voice are added: chosen on answers to labelled clips."""
