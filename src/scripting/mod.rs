//! Scripts: their language, its libraries, and what they may ask of the server, which is known here as a trait alone.

pub mod host;
pub mod library;
pub mod lua;
mod replies;
