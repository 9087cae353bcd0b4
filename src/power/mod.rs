//! Power sources: which are there, and which belongs to an adapter.
