//! Sends frames, and sees them arrive.

pub mod elsewhere;
pub mod flood;
pub mod membership;
pub mod receiver;
pub mod sender;
pub mod stream;
