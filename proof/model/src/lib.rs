//! The protocol as a model that is explored to its last state.
