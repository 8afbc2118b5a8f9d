"""Past requests, replayed: what the online path says to them now, as of their time, against the offline join at the snapshot of then."""
