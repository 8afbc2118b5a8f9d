"""``fti stream``: events of a broker as rows of feature groups, online within a tenth of a second and in the lake exactly once."""
