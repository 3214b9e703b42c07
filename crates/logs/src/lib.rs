//! What a child says: the mover process, segments, index, rotation, reading and searching.
