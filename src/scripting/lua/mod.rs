//! The language: Lua 5.1 without its C. Compiler, objects and interpreter; no library, no server.
//!
//! Text goes through [`lexer`], [`parser`] and [`generator`] to [`code`]; [`vm`] runs it over the objects of a [`heap`].
//! No unsafe code, no recursion over what a script decides, and a limit on everything: the worst a script can do is fail.

mod arena;
mod ast;
mod code;
pub mod collector;
mod generator;
pub mod heap;
mod index;
mod lexer;
pub mod number;
mod paged;
mod parser;
pub mod random;
pub mod table;
mod thread;
pub mod value;
pub mod vm;
