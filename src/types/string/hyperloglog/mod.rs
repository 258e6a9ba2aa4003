//! HyperLogLog: a string that estimates how many distinct elements were added to it, to about 0.81 %.
//!
//! ```text
//! | "HYLL" | form u8 | 3 unused | cached cardinality u64, bit 63: stale | registers ... |
//! ```
//! There are 16384 registers of 6 bits; an element's hash names one and its run of zeros raises it. Dense: all
//! registers, packed from the lowest bit. Sparse: runs of equal registers (`sparse.rs`). Since every part of a string
//! can be written by clients, [`Form::of`] checks what can be seen at once, and whatever walks a sparse string checks
//! the rest ([`Corrupt`]). The bytes are Valkey's.

mod dense;
mod estimate;
mod sparse;
#[cfg(test)]
mod tests;

pub use estimate::Histogram;

use crate::structures::raw_string::RawString;

/// How many registers there are.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// Bits of a hash that name the register.
const INDEX_BITS: u32 = 14;
/// The most that a register can be: the bits left of a hash and one.
const HIGHEST: usize = 64 - INDEX_BITS as usize + 1;
const MAGIC: &[u8; 4] = b"HYLL";
const HEADER: usize = 16;
const FORM_AT: usize = 4;
const CARDINALITY_AT: usize = 8;
const DENSE_SIZE: usize = HEADER + REGISTERS * 6 / 8;
const STALE: u64 = 1 << 63;

/// One byte a register: what strings are merged into.
pub type Registers = [u8; REGISTERS];

/// A sparse string whose runs do not make up all registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

/// How the registers of a string are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All of them.
    Dense,
    /// Runs of equal ones.
    Sparse,
}

impl Form {
    /// The form of a string; `None` when it is no HyperLogLog.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER || !bytes.starts_with(MAGIC) {
            return None;
        }
        match bytes.get(FORM_AT)? {
            0 => (bytes.len() == DENSE_SIZE).then_some(Self::Dense),
            1 => Some(Self::Sparse),
            _ => None,
        }
    }

    /// Its name, as PFDEBUG prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
        }
    }
}

/// A new string that nothing was added to, in sparse form.
#[must_use]
pub fn create() -> RawString {
    let mut string = RawString::new(MAGIC);
    string.append(&[1, 0, 0, 0]);
    string.append(&0_u64.to_le_bytes());
    string.append(&sparse::ALL_ZERO);
    string
}

/// The same in dense form.
#[must_use]
pub fn create_dense() -> RawString {
    let mut string = RawString::new(MAGIC);
    string.resize(DENSE_SIZE);
    string
}

fn registers_of(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER..).unwrap_or_default()
}

fn registers_mut(string: &mut RawString) -> &mut [u8] {
    string.as_bytes_mut().get_mut(HEADER..).unwrap_or_default()
}

/// Adds an element to a string of this form; says whether a register was raised. A sparse string becomes dense when a
/// register does not fit it or it would grow beyond `sparse_max_bytes`.
///
/// # Errors
/// [`Corrupt`]; registers before the fault may have been looked at, none was changed.
pub fn add(string: &mut RawString, element: &[u8], sparse_max_bytes: usize) -> Result<bool, Corrupt> {
    let (index, value) = estimate::register_of(element);
    raise(string, index, value, sparse_max_bytes)
}

/// Raises one register, if it is lower; see [`add`].
fn raise(string: &mut RawString, index: usize, value: u8, sparse_max_bytes: usize) -> Result<bool, Corrupt> {
    if Form::of(string.as_bytes()) == Some(Form::Sparse) {
        match sparse::raise(string, index, value, sparse_max_bytes)? {
            sparse::Raised::No => return Ok(false),
            sparse::Raised::Yes => {
                invalidate(string);
                return Ok(true);
            }
            sparse::Raised::DoesNotFit => {
                make_dense(string)?;
            }
        }
    }
    Ok(dense::raise(registers_mut(string), index, value))
}

/// Makes a sparse string dense; says whether it was sparse. The cached cardinality stays.
///
/// # Errors
/// [`Corrupt`]; nothing is changed then.
pub fn make_dense(string: &mut RawString) -> Result<bool, Corrupt> {
    if Form::of(string.as_bytes()) != Some(Form::Sparse) {
        return Ok(false);
    }
    let mut registers = [0; REGISTERS];
    merge(&mut registers, string.as_bytes())?;
    let mut dense = string.as_bytes().get(..HEADER).unwrap_or_default().to_vec();
    dense.resize(DENSE_SIZE, 0);
    if let Some(form) = dense.get_mut(FORM_AT) {
        *form = 0;
    }
    string.assign(&dense);
    dense::pack(registers_mut(string), &registers);
    Ok(true)
}

/// Raises each register to that of a string that [`Form::of`] knows.
///
/// # Errors
/// [`Corrupt`]; some registers may have been raised.
pub fn merge(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupt> {
    if Form::of(bytes) != Some(Form::Sparse) {
        for (register, value) in registers.iter_mut().zip(dense::values(registers_of(bytes))) {
            *register = value.max(*register);
        }
        return Ok(());
    }
    for run in sparse::runs_checked(registers_of(bytes)) {
        let (range, value) = run?;
        if value > 0 {
            for register in registers.get_mut(range).unwrap_or_default() {
                *register = value.max(*register);
            }
        }
    }
    Ok(())
}

/// Writes merged registers, which are nowhere lower than the string's own: dense when `dense`, else as they come,
/// which may make the string dense too. The cached cardinality is stale afterwards.
///
/// # Errors
/// [`Corrupt`].
pub fn store(
    string: &mut RawString,
    registers: &Registers,
    dense: bool,
    sparse_max_bytes: usize,
) -> Result<(), Corrupt> {
    if dense {
        make_dense(string)?;
        dense::pack(registers_mut(string), registers);
    } else {
        for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
            raise(string, index, *value, sparse_max_bytes)?;
        }
    }
    invalidate(string);
    Ok(())
}

/// The estimate for a string that [`Form::of`] knows, computed anew.
///
/// # Errors
/// [`Corrupt`].
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    let mut histogram = Histogram::default();
    if Form::of(bytes) == Some(Form::Sparse) {
        for run in sparse::runs_checked(registers_of(bytes)) {
            let (range, value) = run?;
            histogram.add(value, range.len());
        }
    } else {
        dense::values(registers_of(bytes)).for_each(|value| histogram.add(value, 1));
    }
    Ok(histogram.cardinality())
}

/// The estimate that the string holds, unless it is stale.
#[must_use]
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let cached = bytes.get(CARDINALITY_AT..HEADER)?.try_into().ok().map(u64::from_le_bytes)?;
    (cached & STALE == 0).then_some(cached)
}

/// Keeps an estimate in the string.
pub fn set_cached(string: &mut RawString, cardinality: u64) {
    if let Some(place) = string.as_bytes_mut().get_mut(CARDINALITY_AT..HEADER) {
        place.copy_from_slice(&cardinality.to_le_bytes());
    }
}

/// Marks the estimate in the string as stale.
pub fn invalidate(string: &mut RawString) {
    if let Some(last) = string.as_bytes_mut().get_mut(HEADER - 1) {
        *last |= 0x80;
    }
}

/// Every register of a dense string.
pub fn dense_registers(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    dense::values(registers_of(bytes))
}

/// The runs of a sparse string as PFDEBUG DECODE prints them, faulty ones included.
#[must_use]
pub fn describe(bytes: &[u8]) -> String {
    let runs: Vec<String> = sparse::runs(registers_of(bytes)).map(|(run, _)| run.to_string()).collect();
    runs.join(" ")
}
