//! Peaks as vendors state them, with their sources, and the match from an
//! adapter to its datasheet.
