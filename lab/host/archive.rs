//! Makes a pin for a kernel from the archive's signed indexes.
