//! The properties live in tests/.
