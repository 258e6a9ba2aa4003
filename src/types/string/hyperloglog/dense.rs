//! The dense form: 16384 registers of 6 bits, four in three bytes, the first in the lowest bits.

use super::Registers;

/// The values of all registers, in order.
pub(super) fn values(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (groups, _) = bytes.as_chunks::<3>();
    groups.iter().flat_map(|[a, b, c]| {
        let bits = u32::from_le_bytes([*a, *b, *c, 0]);
        [0, 6, 12, 18].map(|shift| (bits >> shift & 63) as u8)
    })
}

/// Overwrites all registers.
pub(super) fn pack(bytes: &mut [u8], registers: &Registers) {
    let (groups, _) = bytes.as_chunks_mut::<3>();
    let (values, _) = registers.as_chunks::<4>();
    for (group, [a, b, c, d]) in groups.iter_mut().zip(values) {
        let bits = u32::from(*a) | u32::from(*b) << 6 | u32::from(*c) << 12 | u32::from(*d) << 18;
        let [low, middle, high, _] = bits.to_le_bytes();
        *group = [low, middle, high];
    }
}

/// Raises one register; says whether it was lower.
pub(super) fn raise(bytes: &mut [u8], index: usize, value: u8) -> bool {
    let (groups, _) = bytes.as_chunks_mut::<3>();
    let Some(group) = groups.get_mut(index / 4) else { return false };
    let [a, b, c] = *group;
    let bits = u32::from_le_bytes([a, b, c, 0]);
    let shift = index % 4 * 6;
    if (bits >> shift & 63) >= u32::from(value) {
        return false;
    }
    let [a, b, c, _] = (bits & !(63 << shift) | u32::from(value) << shift).to_le_bytes();
    *group = [a, b, c];
    true
}
