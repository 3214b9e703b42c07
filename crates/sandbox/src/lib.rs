//! What a child may do: limits and identity resolved into layers, applied in the child, and what was enforced.
