//! Values of the language, as small as they can be copied: what is not a number or a boolean is the place of an
//! object in the [heap](super::heap).
//!
//! A place stays an object's own as long as a root reaches it; the collector runs only between instructions.

/// The place of a string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StrRef(pub(super) u32);

/// The place of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableRef(pub(super) u32);

/// The place of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FunctionRef(pub(super) u32);

/// The place of a variable that functions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CellRef(pub(super) u32);

/// The place of a function's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProtoRef(pub(super) u32);

/// The place of a coroutine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadRef(pub(super) u32);

/// A value. Its kind takes a whole word, so that a copy is of two words and not of a byte and fifteen others.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[repr(u64)]
pub enum Value {
    /// `nil`.
    #[default]
    Nil,
    /// `true` or `false`.
    Boolean(bool),
    /// Any number: a double.
    Number(f64),
    /// Bytes.
    String(StrRef),
    /// A table.
    Table(TableRef),
    /// A function, of the script or of a library.
    Function(FunctionRef),
    /// A coroutine.
    Thread(ThreadRef),
    /// The one light userdata there is: JSON's null.
    Null,
    /// A variable that a function captured, in its register. No script sees one.
    Cell(CellRef),
}

impl Value {
    /// Everything but `nil` and `false` is true.
    #[inline]
    #[must_use]
    pub fn is_true(self) -> bool {
        !matches!(self, Self::Nil | Self::Boolean(false))
    }

    /// Whether it is `nil`.
    #[inline]
    #[must_use]
    pub fn is_nil(self) -> bool {
        matches!(self, Self::Nil)
    }

    /// A number that no other object of its kind has meanwhile; what `tostring` shows of it.
    #[must_use]
    pub fn identity(self) -> u64 {
        // Nothing of the process's memory is shown.
        let (kind, place) = match self {
            Self::Table(TableRef(place)) => (1, place),
            Self::Function(FunctionRef(place)) => (2, place),
            Self::Thread(ThreadRef(place)) => (3, place),
            _ => (0, 0),
        };
        (kind << 40) + (u64::from(place) << 4)
    }

    /// What `type` says.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Nil | Self::Cell(_) => "nil",
            Self::Boolean(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Table(_) => "table",
            Self::Function(_) => "function",
            Self::Thread(_) => "thread",
            Self::Null => "userdata",
        }
    }
}

/// Copies a value of a list to another place of it.
///
/// A number that was just computed was written as two words. A processor hands those on to who reads them one by one, but
/// who reads both as one waits until they have reached the cache, which takes longer than most instructions.
#[inline(always)]
pub(super) fn copy_value(values: &mut [Value], from: usize, to: usize) {
    match values[from] {
        Value::Number(number) => values[to] = Value::Number(number),
        other => values[to] = other,
    }
}

/// Why the running of instructions stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// An error, whose value the interpreter keeps.
    Error,
    /// The script was killed; nothing catches that.
    Killed,
    /// It is time for others; the run goes on when it is resumed.
    Paused,
    /// A library function has the results it waited for.
    Delivered,
    /// The main function has returned.
    Finished,
}

/// What every step of a run gives.
pub type Result<T> = std::result::Result<T, Stop>;
