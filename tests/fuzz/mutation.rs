//! How inputs are made: from the pieces of a grammar, and by changing what is there.

/// What honest inputs are made of.
pub struct Grammar {
    /// What each begins with.
    pub head: Vec<u8>,
    /// What stands between, in any number and order.
    pub pieces: Vec<Vec<u8>>,
    /// What each ends with.
    pub tail: Vec<u8>,
    /// Bytes with a meaning of their own.
    pub words: Vec<Vec<u8>>,
}

/// Bytes of an input at most.
const LONGEST: usize = 16 * 1024;

pub struct Mutator<'a> {
    pub grammar: &'a Grammar,
    pub random: fastrand::Rng,
}

impl Mutator<'_> {
    /// An input made of whole pieces.
    pub fn compose(&mut self) -> Vec<u8> {
        let mut input = self.grammar.head.clone();
        for _ in 0..self.random.usize(1..6) {
            input.extend_from_slice(self.random.choice(&self.grammar.pieces).unwrap());
        }
        input.extend_from_slice(&self.grammar.tail);
        input
    }

    /// Changes an input in a few places; `others` are there to take parts from.
    pub fn change(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        for _ in 0..1 << self.random.u32(..4) {
            self.change_once(input, others);
        }
        input.truncate(LONGEST);
    }

    fn change_once(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        let random = &mut self.random;
        let place = random.usize(..=input.len());
        let longest = 1 << random.u32(..8);
        let span = place..(place + random.usize(1..=longest)).min(input.len());
        match random.u32(..14) {
            0 if place < input.len() => input[place] = random.u8(..),
            1..=3 if place < input.len() => input[place] ^= 1 << random.u32(..8),
            4 if place < input.len() => {
                input[place] =
                    *random.choice(&[0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xfe, 0xff]).unwrap();
            }
            5 => drop(input.splice(span, [])),
            6 => {
                let part = input[span].to_vec();
                let at = random.usize(..=input.len());
                drop(input.splice(at..at, part));
            }
            7 => {
                let word = random.choice(&self.grammar.words).unwrap();
                let end = if random.bool() { place } else { (place + word.len()).min(input.len()) };
                drop(input.splice(place..end, word.iter().copied()));
            }
            8 => {
                let piece = random.choice(&self.grammar.pieces).unwrap();
                drop(input.splice(place..place, piece.iter().copied()));
            }
            9 if !others.is_empty() => {
                // The end of another input, or a part of it in the place of a part of this one.
                let other = random.choice(others).unwrap();
                let from = random.usize(..=other.len());
                let until = if random.bool() { other.len() } else { random.usize(from..=other.len()) };
                let span = if random.bool() { place..input.len() } else { span };
                drop(input.splice(span, other[from..until].iter().copied()));
            }
            10 => {
                // A length, in any of the widths in which lengths are stored.
                let number = random.u64(..) >> random.u32(..64);
                let bytes = match random.u32(..4) {
                    0 => [&[0x80][..], &(number as u32).to_be_bytes()].concat(),
                    1 => [&[0x81][..], &number.to_be_bytes()].concat(),
                    2 => (number as u32).to_le_bytes().to_vec(),
                    _ => (number as u16).to_le_bytes().to_vec(),
                };
                let end = (place + bytes.len()).min(input.len());
                drop(input.splice(place..end, bytes));
            }
            11 => self.change_digits(input, place),
            12 => input.truncate(place),
            _ => {
                let byte = random.u8(..);
                let run = random.usize(1..32);
                drop(input.splice(place..place, std::iter::repeat_n(byte, run)));
            }
        }
    }

    /// Puts another number in the place of the next one that is written in digits.
    fn change_digits(&mut self, input: &mut Vec<u8>, from: usize) {
        let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|place| from + place) else {
            return;
        };
        let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let random = &mut self.random;
        let number = match random.u32(..6) {
            0 => "-1".to_owned(),
            1 => "0".to_owned(),
            2 => "9223372036854775807".to_owned(),
            3 => "4294967295".to_owned(),
            4 => random.u32(..300).to_string(),
            _ => (random.u64(..) >> random.u32(..64)).to_string(),
        };
        drop(input.splice(start..start + length, number.into_bytes()));
    }
}
